"""The corpus that fuzzing begins with, synthesised: python -m fuzz.seeds writes it into tests/fuzz/corpus."""

from __future__ import annotations

import io
from pathlib import Path

import av
import msgspec
import numpy as np
import onnx
import soundfile
from onnx import TensorProto, helper, numpy_helper

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.bundle import BundleSpec, described

CORPUS = Path(__file__).with_name("corpus")
RATE = 8000
TABLES = {
    "m": 'path,labels,subset,group,fold,duration_s\na.wav,Bark,curated,g1,0,1.5\nb.wav,"Bark,Meow",test,,-1,\n',
    "c": 'fname,action,labels,why\na.wav,relabel,"Bark,Meow",heard\nb.wav,drop,,\n',
    "p": "fname,Bark,Meow\na.wav,0.5,0.25\nb.wav,1,0\n",
    "k": "fname,labels\na.wav,Bark\n",
    "e": "filename,fold,target,category,esc10,src_file,take\n1-1-A-0.wav,1,0,dog,True,1,A\n",
    "f": "fname,labels,mids,split\n1,Bark,/m/1,train\n",
    "t": "path,labels,group\naudio/a.wav,Bark,1\n",
}
PLAIN = """fit.epochs=3
name = "x"
window_s = 2.5
[fit]
epochs = 4
stages = [{epochs = 4, lr = 0.1}]
[model]
name = "resnet18"
"""
PICTURE = """
[picture.log_mel]
sample_rate = 16000
n_mels = 64
fmax = 8000.0
[augment.noise]
probability = 0.5
[tta]
n = 2
"""
RECIPES = {"plain": PLAIN, "picture": PICTURE}


def recordings() -> dict[str, bytes]:
    """A quarter of a second of a tone, in each format that libsndfile writes, and in two that only FFmpeg reads."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE // 4) / RATE)
    made = {}
    for name, subtype in (
        ("WAV", None),
        ("WAV", "FLOAT"),
        ("FLAC", None),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
        ("AIFF", None),
        ("AU", None),
        ("CAF", None),
        ("W64", None),
    ):
        buffer = io.BytesIO()
        soundfile.write(buffer, tone, RATE, format=name, subtype=subtype)
        made[f"{name}-{subtype or 'usual'}".lower()] = buffer.getvalue()
    for container, codec in (("ipod", "aac"), ("webm", "libopus")):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container) as file:
            stream = file.add_stream(codec, rate=48_000)
            frame = av.AudioFrame.from_ndarray(np.resize(tone, (1, 9600)).astype(np.float32), "fltp", "mono")
            frame.sample_rate = 48_000
            fifo = av.AudioFifo()
            fifo.write(frame)
            for part in fifo.read_many(960):
                file.mux(stream.encode(part))
            file.mux(stream.encode(None))
        made[container] = buffer.getvalue()
    return made


def bundles() -> dict[str, bytes]:
    """A bundle that averages bands, one without its specification, and one with data outside of it."""
    spec = PictureSpec(log_mel=LogMelSpec(sample_rate=8000, n_fft=128, hop_length=80, n_mels=4, fmin=50.0, fmax=4000.0))
    said = BundleSpec(labels=("a", "b"), front_end=msgspec.to_builtins(spec), window_frames=8, hop_frames=4)
    weights = numpy_helper.from_array(np.ones((4, 2), np.float32), "weights")
    nodes = [
        helper.make_node("ReduceMean", ["pictures"], ["bands"], axes=[1, 3], keepdims=0),
        helper.make_node("MatMul", ["bands", "weights"], ["scores"]),
    ]
    pictures = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 1, 4, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "tiny", [pictures], [scores], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    bare = model.SerializeToString()
    whole = described(model, said).SerializeToString()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../../etc/passwd")
    model.graph.initializer[0].ClearField("raw_data")
    return {"whole": whole, "bare": bare, "outside": model.SerializeToString()}


def seeds() -> dict[str, dict[str, bytes]]:
    """By target, by name."""
    recipes = {name: text.encode() for name, text in RECIPES.items()}
    tables = {f"{kind}-table": (kind + text).encode() for kind, text in TABLES.items()}
    return {"decode": recordings(), "bundle": bundles(), "manifest": tables, "recipe": recipes}


def main() -> None:
    """Write it; what is there of earlier findings stays."""
    for target, files in seeds().items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (CORPUS / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
