"""`earmark export`: a bundle of another precision or input, with what that costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from earmark.bundle import Bundle, Combination, write_bundle
from earmark.data.encoding import Encoding
from earmark.data.layouts import read_collection
from earmark.data.pack import pack
from earmark.tagging.parity import Parity
from earmark.tagging.tagger import load
from earmark.training.export.members import graph_of_members

Run = Callable[..., tuple[int, str, str]]
MakeBundle = Callable[..., Path]
WriteTone = Callable[..., Path]


@pytest.fixture
def convolving(make_tiny_bundle: MakeBundle, tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle with a convolution before it, which blurs a little."""
    kernel = np.full((4, 1, 3, 3), 0.02, dtype=np.float32)
    kernel[:, 0, 1, 1] = [1.0, 0.9, 0.8, 1.1]
    model = onnx.load(tiny_bundle)
    blur = helper.make_node("Conv", ["pictures", "kernel"], ["blurred"], pads=[1, 1, 1, 1])
    model.graph.node[0].input[0] = "blurred"
    nodes = [blur, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "kernel"))
    return make_tiny_bundle(tmp_path / "convolving.onnx", model=model)


@pytest.fixture
def tones(write_tone: WriteTone) -> Path:
    """A collection of six tones."""
    rows = ["path,labels"]
    for i, (label, hz) in enumerate([("low", 300), ("mid", 1800), ("high", 5000)] * 2):
        write_tone(f"tones/{i}.wav", hz + 20 * i, 0.5 + 0.5 * i)
        rows.append(f"{i}.wav,{label}")
    folder = write_tone("tones/0.wav", 300).parent
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def run(convolving: Path, tmp_path: Path) -> Path:
    """A run's folder of two folds and a refitted network, all the same one."""
    for name in (".", "fold-0", "fold-1", "refit"):
        (tmp_path / "run" / name).mkdir(exist_ok=True)
        (tmp_path / "run" / name / "model.onnx").write_bytes(convolving.read_bytes())
    (tmp_path / "run" / "folds.csv").write_text("fname,fold\n" + "".join(f"{i}.wav,{i // 4}\n" for i in range(6)))
    return tmp_path / "run"


def cells(out: str) -> dict[str, list[str]]:
    """The table that was printed, by the first words of its rows."""
    rows = [line.split("  ") for line in out.splitlines()[2:]]
    return {row[0].strip(): [cell.strip() for cell in row[1:] if cell.strip()] for row in rows if row[0].strip()}


def test_without_data_it_is_measured_on_synthesised_sounds(run_earmark: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    status, out, _ = run_earmark("export", tiny_bundle, "-o", tmp_path / "a.onnx", "--precision", "fp16")
    assert status == 0
    table = cells(out)
    assert table["input"] == ["log-mel", "log-mel"]
    assert table["precision"] == ["fp32", "fp16"]
    assert table["same best label"] == ["100.0 %"]
    assert "lwlrap" not in table
    assert out.endswith("\nmeasured on 24 synthesised sounds\n")
    said = Bundle(tmp_path / "a.onnx").spec.export
    assert said["source"] == "tiny.onnx"
    assert (said["n_clips"], said["measured_on"]) == (24, "24 synthesised sounds")
    assert said["largest"] <= 1e-3
    assert not list(tmp_path.glob(".*"))


def test_waveforms_with_labels_to_judge_by(run_earmark: Run, tiny_bundle: Path, tones: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.onnx"
    status, out, _ = run_earmark("export", tiny_bundle, "-o", target, "--input", "waveform", "--data", tones)
    assert status == 0
    table = cells(out)
    assert table["input"] == ["log-mel", "waveform"]
    assert table["lwlrap"] == ["1.0000", "1.0000"]
    assert float(table["scores apart, largest"][0]) < 1e-4
    assert out.endswith("\nmeasured on 6 clips of tones\n")
    spec = Bundle(target).spec
    assert (spec.input, spec.format_version) == ("waveforms", 2)
    assert (spec.export["lwlrap_before"], spec.export["lwlrap_after"]) == (1.0, 1.0)
    assert [tag.label for tag in load(target).tag(tones / "5.wav", top_k=1)] == ["high"]


def test_what_a_waveform_export_leaves_to_its_user_is_said(
    run_earmark: Run, make_tiny_bundle: MakeBundle, tiny_bundle: Path, tmp_path: Path
) -> None:
    front_end = Bundle(tiny_bundle).spec.front_end | {"trim_top_db": 60.0}
    source = make_tiny_bundle(tmp_path / "trimming.onnx", front_end=front_end)
    status, _, err = run_earmark("export", source, "-o", tmp_path / "a.onnx", "--input", "waveform")
    assert status == 0
    note = "silence 60 dB below the loudest frame is not trimmed; do it before"
    assert err.splitlines()[-1] == f"earmark: {note}"
    assert Bundle(tmp_path / "a.onnx").spec.export["notes"] == [note]


def test_static_integers_are_fixed_on_what_a_fold_learned_from(
    run_earmark: Run, run: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earmark.tagging import parity

    seen = []

    def middle_windows(tagger: object, sounds: parity.Sounds, n_most: int) -> np.ndarray:
        seen.append(sounds.said)
        return parity.middle_windows(tagger, sounds, n_most)  # type: ignore[arg-type]

    monkeypatch.setattr("earmark.cli.export.middle_windows", middle_windows)
    arguments = ("--fold", 1, "--precision", "int8-static", "--data", tones, "--workers", 2)
    status, out, _ = run_earmark("export", run, "-o", tmp_path / "a.onnx", *arguments)
    assert status == 0
    assert seen == ["4 clips of tones"]
    assert out.endswith("\nmeasured on 2 clips of tones, none learned from\n")
    assert cells(out)["precision"] == ["fp32", "int8-static"]
    assert float(cells(out)["scores apart, largest"][0]) < 0.1
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(tmp_path / "a.onnx").graph.node)


def test_static_integers_need_recordings(run_earmark: Run, convolving: Path, tmp_path: Path) -> None:
    status, out, err = run_earmark("export", convolving, "-o", tmp_path / "a.onnx", "--precision", "int8-static")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == (
        "Error: int8-static fixes the range of every value by what recordings give, and there are none; name a "
        "collection like those the model will hear with --data, or take int8"
    )


@pytest.mark.parametrize(("precision", "remedy"), [("int8", "fp16"), ("fp32", "--input log-mel")])
def test_an_export_that_has_lost_much_is_said_to(
    run_earmark: Run, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, remedy: str
) -> None:
    monkeypatch.setattr("earmark.cli.export.compare", lambda *_, **__: (Parity(100, 0.9, 0.1, 0.62), []))
    status, _, err = run_earmark("export", tiny_bundle, "-o", tmp_path / "a.onnx", "--precision", precision)
    assert status == 0
    assert err.splitlines()[-1] == (
        f"earmark: the best label of 38% of the clips is another than before; {remedy} loses less"
    )


def test_a_packed_store_will_do(run_earmark: Run, tiny_bundle: Path, tones: Path, tmp_path: Path) -> None:
    pack(read_collection(tones), tmp_path / "store", Encoding.waveform(16_000), progress=False)
    status, out, _ = run_earmark("export", tiny_bundle, "-o", tmp_path / "a.onnx", "--data", tmp_path / "store")
    assert status == 0
    assert cells(out)["lwlrap"] == ["1.0000", "1.0000"]
    assert out.endswith("\nmeasured on 6 clips of store\n")


def test_how_it_is_read_is_no_question_of_a_store(
    run_earmark: Run, tiny_bundle: Path, tones: Path, tmp_path: Path
) -> None:
    pack(read_collection(tones), tmp_path / "store", Encoding.waveform(16_000), progress=False)
    data = ("--data", tmp_path / "store", "--layout", "table")
    status, _, err = run_earmark("export", tiny_bundle, "-o", tmp_path / "a.onnx", *data)
    assert status == 2
    assert err.splitlines()[-1].startswith("Error: --layout says how a collection is read, and ")


def test_a_clip_that_cannot_be_read_is_named(run_earmark: Run, tiny_bundle: Path, tones: Path, tmp_path: Path) -> None:
    (tones / "2.wav").write_text("no recording")
    status, out, err = run_earmark("export", tiny_bundle, "-o", tmp_path / "a.onnx", "--data", tones)
    assert status == 1
    assert "lwlrap" in cells(out)
    assert err.splitlines()[-2:] == [
        f"earmark: {tones / '2.wav'}: cannot be read as audio (Format not recognised); is it a recording, and whole?",
        "earmark: 1 of 6 clips could not be read; the others were compared",
    ]
    assert Bundle(tmp_path / "a.onnx").spec.export["n_clips"] == 5


@pytest.mark.parametrize(("options", "part"), [((), "."), (("--fold", 1), "fold-1"), (("--refit",), "refit")])
def test_which_network_of_a_run(
    run_earmark: Run, run: Path, tmp_path: Path, options: tuple[object, ...], part: str
) -> None:
    wanted = run / part / "model.onnx"
    for path in run.rglob("model.onnx"):
        if path != wanted:
            path.write_text("not this one")
    status, out, _ = run_earmark("export", run, "-o", tmp_path / "a.onnx", *options)
    assert status == 0
    assert str(wanted) in out
    assert Bundle(tmp_path / "a.onnx").spec.export["source"] == "run"


class Timed(nn.Module):
    """Scores over time: the three thirds of the bands against each other."""

    def frame_logits(self, pictures: Tensor) -> Tensor:
        """(n, 1, 24, n_frames) to (n, 3, n_frames // 10)."""
        bands = nn.functional.avg_pool1d(pictures[:, 0], 10)
        thirds = bands.unflatten(1, (3, 8)).mean(dim=2)
        return 3 * thirds - thirds.sum(dim=1, keepdim=True)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 1, 24, n_frames) to (n, 3)."""
        return self.frame_logits(pictures).mean(dim=2)


def test_scores_over_time_of_a_runs_folds(
    run_earmark: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    for fold in (0, 1):
        (run / f"fold-{fold}" / "network.pt").touch()
    monkeypatch.setattr("earmark.training.crossval.load_network", lambda folder: Timed())
    status, _, _ = run_earmark("export", run, "-o", tmp_path / "a.onnx", "--frames", "--precision", "fp16")
    assert status == 0
    assert Bundle(tmp_path / "a.onnx").output_names == ("scores", "frame_scores")
    pictures = rng.standard_normal((2, 1, 24, 100)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    given = session.run(["frame_scores"], {"pictures": pictures})[0]
    expected = Timed().frame_logits(torch.from_numpy(pictures)).sigmoid().numpy()
    np.testing.assert_allclose(given, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--fold", 0, "--refit"), "--fold and --refit name two networks; give one of them"),
        (("--fold", 7), "{run} has no fold-7/model.onnx; it has fold-0, fold-1, refit"),
    ],
)
def test_networks_that_a_run_has_not(
    run_earmark: Run, run: Path, tmp_path: Path, options: tuple[object, ...], text: str
) -> None:
    status, out, err = run_earmark("export", run, "-o", tmp_path / "a.onnx", *options)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == f"Error: {text.format(run=run)}"


@pytest.mark.parametrize("options", [("--fold", 0), ("--refit",), ("--frames",)])
def test_a_bundle_is_no_run(run_earmark: Run, tiny_bundle: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    status, _, err = run_earmark("export", tiny_bundle, "-o", tmp_path / "a.onnx", *options)
    assert status == 2
    assert err.splitlines()[-1] == (
        f"Error: {options[0]} goes with a run's folder, and {tiny_bundle} is none; leave it out, or name the run"
    )


def test_frames_of_a_run_that_keeps_no_networks(run_earmark: Run, run: Path, tmp_path: Path) -> None:
    status, _, err = run_earmark("export", run, "-o", tmp_path / "a.onnx", "--frames")
    assert status == 2
    assert err.splitlines()[-1].startswith(f"earmark: {run / 'fold-0'}: holds no network.pt, ")
    assert not (tmp_path / "a.onnx").exists()


def test_the_model_itself_is_not_written_over(run_earmark: Run, tiny_bundle: Path) -> None:
    before = tiny_bundle.read_bytes()
    status, _, err = run_earmark("export", tiny_bundle, "-o", tiny_bundle)
    assert status == 2
    assert err.splitlines()[-1] == f"Error: {tiny_bundle} is the model itself; name another file with -o"
    assert tiny_bundle.read_bytes() == before


def test_another_file_is_replaced_once_all_is_well(
    run_earmark: Run, tiny_bundle: Path, tones: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.onnx"
    target.write_text("old")
    for path in tones.glob("*.wav"):
        path.unlink()
    assert run_earmark("export", tiny_bundle, "-o", target, "--data", tones)[0] == 1
    assert target.read_text() == "old"
    assert run_earmark("export", tiny_bundle, "-o", target)[0] == 0
    assert Bundle(target).spec.labels == ("low", "mid", "high")


def test_a_folder_that_is_missing_is_said_before_the_work(
    run_earmark: Run, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earmark.cli.export.compare", lambda *_, **__: pytest.fail("worked in vain"))
    target = tmp_path / "none" / "a.onnx"
    assert run_earmark("export", tiny_bundle, "-o", target) == (
        2,
        "",
        f"earmark: {target}: cannot be written, there is no folder {target.parent}; make it first\n",
    )


def test_an_export_of_eight_bits_is_not_exported_again(run_earmark: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_bundle)
    model.graph.initializer.append(helper.make_tensor("rounded", TensorProto.INT8, [1], [3]))
    write_bundle(model, Bundle(tiny_bundle).spec, tmp_path / "int8.onnx")
    status, _, err = run_earmark("export", tmp_path / "int8.onnx", "-o", tmp_path / "a.onnx")
    assert status == 2
    assert err.startswith(f"earmark: {tmp_path / 'int8.onnx'}: has the precision int8, and so is an export itself; ")


def test_but_may_take_waveforms_and_keeps_its_eight_bits(
    run_earmark: Run, convolving: Path, tones: Path, tmp_path: Path
) -> None:
    rounded, target = tmp_path / "int8.onnx", tmp_path / "w.onnx"
    assert run_earmark("export", convolving, "-o", rounded, "--precision", "int8-static", "--data", tones)[0] == 0
    status, out, err = run_earmark("export", rounded, "-o", target, "--input", "waveform", "--precision", "fp16")
    assert status == 0
    assert cells(out)["precision"] == ["int8-static", "int8-static"]
    assert float(cells(out)["scores apart, largest"][0]) < 0.02
    assert "the network keeps its own precision, int8-static" in err
    assert Bundle(target).spec.input == "waveforms"


def test_without_the_extra(
    run_earmark: Run, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("earmark.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run_earmark("export", tiny_bundle, "-o", tmp_path / "a.onnx") == (
        2,
        "",
        "earmark: exporting (onnx) needs libraries that are not installed: pip install 'earmark[train]'\n",
    )


def test_each_member_of_a_combination(
    run_earmark: Run, convolving: Path, tiny_bundle: Path, tones: Path, tmp_path: Path
) -> None:
    files = [convolving, convolving]
    spec = msgspec.structs.replace(
        Bundle(tiny_bundle).spec,
        combination=Combination(members=("a", "b"), kind="arithmetic", weights=(0.5, 0.5)),
    )
    write_bundle(graph_of_members([file.read_bytes() for file in files]), spec, tmp_path / "both.onnx")
    status, out, _ = run_earmark("export", tmp_path / "both.onnx", "-o", tmp_path / "a.onnx", "--input", "waveform")
    assert status == 0
    assert cells(out)["input"] == ["log-mel", "waveform"]
    exported = Bundle(tmp_path / "a.onnx")
    assert exported.spec.combination == spec.combination
    assert [member.spec.input for member in exported.members] == ["waveforms", "waveforms"]
    assert exported.spec.export["largest"] < 1e-3
    smaller = ("--precision", "int8-static", "--data", tones)
    assert run_earmark("export", tmp_path / "both.onnx", "-o", tmp_path / "b.onnx", *smaller)[0] == 0
    assert [member.spec.export["precision"] for member in Bundle(tmp_path / "b.onnx").members] == ["int8-static"] * 2
