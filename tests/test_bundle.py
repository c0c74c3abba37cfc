"""A bundle says what it is; whatever is not one is told so."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import earmark
from earmark.audio.picture import PictureSpec
from earmark.bundle import FIRST_VERSION, FORMAT_VERSION, METADATA_KEY, Bundle, BundleSpec, write_bundle
from earmark.errors import BundleError, EarmarkError
from earmark.tagging.tagger import WINDOWS_PER_CALL, WINDOWS_PER_GPU_CALL, load

MakeBundle = Callable[..., Path]


def error_of(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle(path)
    return str(caught.value)


def with_metadata(bundle: Path, target: Path, said: str | None) -> Path:
    """The same network with other metadata, or none."""
    model = onnx.load(bundle)
    del model.metadata_props[:]
    if said is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, said
    target.write_bytes(model.SerializeToString())
    return target


def network(
    inputs: dict[str, list[int | str]], outputs: dict[str, list[int | str]], operator: str = "Identity"
) -> onnx.ModelProto:
    """A network that gives a function of its first input for every output."""
    nodes = [helper.make_node(operator, [next(iter(inputs))], [name]) for name in outputs]
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "network", infos[0], infos[1])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class TestRoundTrip:
    def test_what_is_written_is_read(self, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
        said = {
            "labels": ("Bark", "Meow", "Größe_(Ü)"),
            "metrics": {"lwlrap": 0.875, "f1": None},
            "recipe": {"name": "tiny", "fit": {"epochs": 3, "lr": 1e-3}},
            "data": "synthesised",
            "licence": "CC0",
            "earmark_version": "0.1.0",
            "hop_frames": 7,
        }
        bundle = Bundle(make_tiny_bundle(tmp_path / "a.onnx", **said))
        for name, value in said.items():
            assert getattr(bundle.spec, name) == value
        assert bundle.spec.format_version == FIRST_VERSION
        assert bundle.vocabulary.names == said["labels"]
        assert msgspec.convert(bundle.spec.front_end, PictureSpec).log_mel.n_mels == 24

    def test_shape_of_the_input(self, tiny_bundle: Path) -> None:
        assert Bundle(tiny_bundle).input_shape == ("n", 1, 24, 100)

    def test_any_onnx_tool_shows_the_specification(self, tiny_bundle: Path) -> None:
        session = onnxruntime.InferenceSession(tiny_bundle, providers=["CPUExecutionProvider"])
        said = json.loads(session.get_modelmeta().custom_metadata_map["earmark"])
        assert said["labels"] == ["low", "mid", "high"]
        assert said["format_version"] == 1

    def test_what_a_later_release_adds_is_passed_over(self, tiny_bundle: Path, tmp_path: Path) -> None:
        said = msgspec.to_builtins(Bundle(tiny_bundle).spec) | {"embedding": "features"}
        path = with_metadata(tiny_bundle, tmp_path / "a.onnx", json.dumps(said))
        assert Bundle(path).spec == Bundle(tiny_bundle).spec

    @pytest.mark.parametrize(
        ("changes", "version"),
        [({}, FIRST_VERSION), ({"export": {"precision": "fp16"}}, FIRST_VERSION), ({"windows_weight": 0.5}, 2)],
    )
    def test_the_format_is_the_lowest_that_says_all(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, changes: dict[str, object], version: int
    ) -> None:
        spec = Bundle(make_tiny_bundle(tmp_path / "a.onnx", **changes)).spec
        assert spec.format_version == version <= FORMAT_VERSION
        for name, value in changes.items():
            assert getattr(spec, name) == value

    def test_a_specification_of_the_first_release_is_read(self, tmp_path: Path, tiny_bundle: Path) -> None:
        said = {"labels": ["low", "mid", "high"], "front_end": {}, "window_frames": 100, "hop_frames": 50}
        spec = Bundle(with_metadata(tiny_bundle, tmp_path / "a.onnx", json.dumps(said))).spec
        assert (spec.input, spec.windows_weight, spec.export) == ("pictures", 1.0, {})

    def test_waveforms_go_in_under_their_own_name(self, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
        model = network({"waveforms": ["n", 3]}, {"scores": ["n", 3], "frame_scores": ["n", 3]})
        bundle = Bundle(make_tiny_bundle(tmp_path / "a.onnx", model=model, input="waveforms"))
        assert bundle.spec.format_version == 2
        assert bundle.input_shape == ("n", 3)
        assert bundle.output_names == ("scores", "frame_scores")
        np.testing.assert_array_equal(bundle.scores(np.ones((2, 3), dtype=np.float32)), np.ones((2, 3)))

    def test_earlier_metadata_are_replaced(self, tiny_bundle: Path, tmp_path: Path) -> None:
        model = onnx.load(tiny_bundle)
        write_bundle(model, msgspec.structs.replace(Bundle(tiny_bundle).spec, licence="CC0"), tmp_path / "a.onnx")
        assert len(onnx.load(tmp_path / "a.onnx").metadata_props) == 1
        assert Bundle(tmp_path / "a.onnx").spec.licence == "CC0"

    def test_scores_by_hand(self, tiny_bundle: Path) -> None:
        pictures = np.zeros((2, 1, 24, 100), dtype=np.float32)
        pictures[0, 0, 8:16] = 2.0
        scores = Bundle(tiny_bundle, n_threads=1).scores(pictures)
        sure, unsure = 1 / (1 + np.exp(-4)), 1 / (1 + np.exp(2))
        np.testing.assert_allclose(scores, [[unsure, sure, unsure], [0.5, 0.5, 0.5]], rtol=1e-6)
        assert scores.dtype == np.float32

    def test_no_windows_no_scores(self, tiny_bundle: Path) -> None:
        assert Bundle(tiny_bundle).scores(np.zeros((0, 1, 24, 100), dtype=np.float32)).shape == (0, 3)

    def test_an_earlier_file_is_replaced_and_nothing_else_is_left(self, tmp_path: Path, tiny_bundle: Path) -> None:
        (tmp_path / "a.onnx").write_text("old")
        write_bundle(onnx.load(tiny_bundle), Bundle(tiny_bundle).spec, tmp_path / "a.onnx")
        assert Bundle(tmp_path / "a.onnx").spec == Bundle(tiny_bundle).spec
        assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]

    def test_a_folder_that_is_not_there(self, tmp_path: Path, tiny_bundle: Path) -> None:
        with pytest.raises(EarmarkError, match=r"cannot be written, there is no folder .*none; make it first"):
            write_bundle(onnx.load(tiny_bundle), Bundle(tiny_bundle).spec, tmp_path / "none" / "a.onnx")


class TestProviders:
    """A GPU is used where ONNX Runtime has one; where it only says so, the processor."""

    def test_where_there_is_one(self, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = self.sessions(monkeypatch, works=True)
        assert Bundle(tiny_bundle).on_gpu
        assert load(tiny_bundle).windows_per_call == WINDOWS_PER_GPU_CALL
        assert asked[0] == ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def test_where_it_cannot_be_opened(self, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = self.sessions(monkeypatch, works=False)
        bundle = Bundle(tiny_bundle)
        assert not bundle.on_gpu
        assert bundle.scores(np.zeros((1, 1, 24, 100), dtype=np.float32)).shape == (1, 3)
        assert asked == [["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]]

    def test_where_there_is_none(self, tiny_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
        assert not Bundle(tiny_bundle).on_gpu
        assert load(tiny_bundle).windows_per_call == WINDOWS_PER_CALL
        assert capfd.readouterr() == ("", "")

    def sessions(self, monkeypatch: pytest.MonkeyPatch, *, works: bool) -> list[list[str]]:
        """Have sessions asked for on a GPU opened on the processor, or not at all; gives the providers asked for."""
        asked: list[list[str]] = []
        real = onnxruntime.InferenceSession

        def opened(model: object, options: object, *, providers: list[str], enable_fallback: bool) -> object:
            asked.append(providers)
            if len(providers) > 1 and not works:
                raise RuntimeError("no CUDA driver")
            session = real(model, options, providers=["CPUExecutionProvider"], enable_fallback=enable_fallback)
            if len(providers) > 1:
                session.get_providers = lambda: providers
            return session

        monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
        monkeypatch.setattr(onnxruntime, "set_default_logger_severity", lambda level: None)
        return asked


class TestErrors:
    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "none.onnx"
        text = f"{path}: no such model file; check the spelling, or train one with 'earmark train'"
        assert error_of(path) == text
        assert error_of(tmp_path) == text.replace("/none.onnx", "")

    @pytest.mark.parametrize("content", [b"", b"This is no model.\n" * 50, bytes(1000)])
    def test_no_onnx_at_all(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.onnx"
        path.write_bytes(content)
        text = error_of(path)
        assert text.startswith(f"{path}: cannot be loaded as an ONNX model (")
        assert text.endswith("); is it whole, and a bundle? copy it again")
        assert "\n" not in text

    def test_truncated_anywhere(self, tmp_path: Path, tiny_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
        content = tiny_bundle.read_bytes()
        path = tmp_path / "a.onnx"
        for n_bytes in range(len(content)):
            path.write_bytes(content[:n_bytes])
            text = error_of(path)
            # whole as an ONNX model only where all but the specification, the last part, is there
            foreign = n_bytes > 0.2 * len(content) and text.startswith(f"{path}: an ONNX model, but no bundle")
            assert foreign or text.startswith(f"{path}: cannot be loaded as an ONNX model (")
            assert "\n" not in text
        assert capfd.readouterr().out == ""

    def test_a_real_network_truncated_in_many_places(self, tmp_path: Path) -> None:
        content = (Path(earmark.__file__).parent / "models" / "embedded.onnx").read_bytes()
        path = tmp_path / "a.onnx"
        for part in range(1, 40):
            path.write_bytes(content[: len(content) * part // 40])
            assert error_of(path).startswith(f"{path}: cannot be loaded as an ONNX model (")

    def test_a_damaged_byte_never_ends_in_another_exception(
        self, tmp_path: Path, tiny_bundle: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        content = tiny_bundle.read_bytes()
        pictures = np.zeros((1, 1, 24, 100), dtype=np.float32)
        path = tmp_path / "a.onnx"
        for position in range(0, len(content), 7):
            path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
            with contextlib.suppress(BundleError):
                Bundle(path).scores(pictures)
        assert capfd.readouterr().out == ""

    def test_foreign(self, tmp_path: Path, tiny_bundle: Path) -> None:
        path = with_metadata(tiny_bundle, tmp_path / "a.onnx", None)
        assert error_of(path) == (
            f"{path}: an ONNX model, but no bundle: its metadata has no 'earmark'; "
            "only models that earmark wrote say what sound they take"
        )

    def test_newer(self, tmp_path: Path, tiny_bundle: Path) -> None:
        path = with_metadata(tiny_bundle, tmp_path / "a.onnx", '{"format_version": 4, "everything": "else"}')
        assert error_of(path) == f"{path}: a bundle of format 4; this release reads up to 3; upgrade earmark"

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ("{", "Input data was truncated"),
            ("[]", "Expected `object`, got `array`"),
            ("{}", "Object missing required field `labels`"),
            (
                '{"labels": ["a"], "front_end": {}, "window_frames": 0, "hop_frames": 1}',
                "Expected `int` >= 1 - at `$.window_frames`",
            ),
        ],
    )
    def test_a_damaged_specification(self, tmp_path: Path, tiny_bundle: Path, said: str, reason: str) -> None:
        path = with_metadata(tiny_bundle, tmp_path / "a.onnx", said)
        assert error_of(path) == f"{path}: its specification is damaged ({reason}); copy the file again"

    @pytest.mark.parametrize("labels", [("low",), ("low", "mid", "high", "higher")])
    def test_more_or_fewer_labels_than_scores(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, labels: tuple[str, ...]
    ) -> None:
        path = make_tiny_bundle(tmp_path / "a.onnx", labels=labels)
        assert error_of(path) == (
            f"{path}: the network gives 3 scores, but {len(labels)} labels are named; "
            "the file was changed by other hands: take the original"
        )

    def test_labels_that_are_none(self, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
        path = make_tiny_bundle(tmp_path / "a.onnx", labels=("low", "low", "high"))
        assert error_of(path) == (
            f"{path}: its labels are not usable: label 'low' stands twice in the vocabulary; give each label once"
        )

    @pytest.mark.parametrize(
        ("inputs", "outputs", "takes", "gives"),
        [
            ("waveform", "scores", "['waveform']", "['scores']"),
            ("pictures", "logits", "['pictures']", "['logits']"),
        ],
    )
    def test_other_inputs_and_outputs(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, inputs: str, outputs: str, takes: str, gives: str
    ) -> None:
        model = network({inputs: ["n", 3]}, {outputs: ["n", 3]})
        path = make_tiny_bundle(tmp_path / "a.onnx", model=model)
        assert error_of(path) == (
            f"{path}: takes {takes} and gives {gives}; a bundle takes 'pictures' and gives 'scores'; "
            "write it again with earmark"
        )

    def test_a_second_input(self, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
        model = network({"pictures": ["n", 3], "rate": ["n"]}, {"scores": ["n", 3]})
        path = make_tiny_bundle(tmp_path / "a.onnx", model=model)
        assert error_of(path).startswith(f"{path}: takes ['pictures', 'rate'] and gives ['scores']; ")

    def test_names_that_are_no_text(self, tmp_path: Path, tiny_bundle: Path) -> None:
        path = tmp_path / "a.onnx"
        path.write_bytes(tiny_bundle.read_bytes().replace(b'"low"', b'"l\xffw"'))
        assert error_of(path) == (
            f"{path}: cannot be loaded as an ONNX model ('utf-8' codec can't decode byte 0xff in position 13: invalid "
            "start byte); is it whole, and a bundle? copy it again"
        )

    def test_scores_that_are_no_numbers(self, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
        model = network({"pictures": ["n", 3]}, {"scores": ["n", 3]}, "Log")
        bundle = Bundle(make_tiny_bundle(tmp_path / "a.onnx", model=model))
        with pytest.raises(BundleError) as caught:
            bundle.scores(np.full((1, 3), -1, dtype=np.float32))
        assert str(caught.value) == (
            f"{bundle.path}: the network gives scores that are not finite; copy the file again"
        )

    def test_a_network_that_fails(self, tiny_bundle: Path) -> None:
        with pytest.raises(BundleError) as caught:
            Bundle(tiny_bundle).scores(np.zeros((1, 1, 23, 100), dtype=np.float32))
        assert str(caught.value).startswith(f"{tiny_bundle}: the network fails ([ONNXRuntimeError] : ")
        assert str(caught.value).endswith("); copy the file again")

    def test_a_specification_needs_its_parts(self) -> None:
        with pytest.raises(TypeError, match="Missing required argument 'labels'"):
            BundleSpec()  # type: ignore[call-arg]
