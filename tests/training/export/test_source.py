"""What an export says of itself, and what cannot be exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from earmark import __version__
from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.errors import BundleError, RunError
from earmark.training.export.source import converted, graph_of_bundle, graph_of_run, how_to_cut, notes_of

MakeBundle = Callable[..., Path]


def test_what_an_export_says(tiny_bundle: Path) -> None:
    spec = Bundle(tiny_bundle).spec
    _, said = converted(onnx.load(tiny_bundle), spec, waveforms=True, precision="fp16", source="run")
    assert said.export == {
        "source": "run",
        "source_precision": "fp32",
        "precision": "fp16",
        "waveforms": {
            "sample_rate": 16_000,
            "padding": "zeros",
            "pad_before": 256,
            "pad_behind": 256,
            "window": 99 * 160 + 512,
            "hop": 50 * 160,
        },
        "notes": [],
    }
    assert (said.input, said.earmark_version, said.needed_version) == ("waveforms", __version__, 2)
    _, said = converted(onnx.load(tiny_bundle), spec, waveforms=False, precision="fp32")
    assert said.export == {"source": "", "source_precision": "fp32", "precision": "fp32"}
    assert said.needed_version == 1


@pytest.mark.parametrize(
    ("changes", "notes"),
    [
        ({}, []),
        ({"normalization": "band"}, []),
        (
            {"normalization": "minmax"},
            [
                "the normalisation 'minmax' is measured over each window, not over the whole clip; the scores of clips "
                "of several windows differ"
            ],
        ),
        (
            {"trim_top_db": 60.0, "min_duration_s": 2.5},
            [
                "silence 60 dB below the loudest frame is not trimmed; do it before",
                "clips shorter than 2.5 s are not lengthened; do it before",
            ],
        ),
        (
            {"log_mel": LogMelSpec(pre_emphasis=0.97)},
            ["pre-emphasis hears the step from padding to a clip's first and last sample"],
        ),
    ],
)
def test_notes(changes: dict[str, Any], notes: list[str]) -> None:
    assert notes_of(PictureSpec(**changes)) == notes


def test_how_waveforms_are_cut() -> None:
    picture = PictureSpec(log_mel=LogMelSpec(n_fft=1023, pre_emphasis=0.9, padding="reflect"))
    spec = BundleSpec(labels=("a",), front_end={}, window_frames=10, hop_frames=5)
    assert how_to_cut(picture, spec) == {
        "sample_rate": 32_000,
        "padding": "reflect",
        "pad_before": 511,
        "pad_behind": 512,
        "window": 9 * 320 + 1023 + 1,
        "hop": 1600,
    }


def test_an_export_that_takes_waveforms_is_not_exported_again(tiny_bundle: Path, tmp_path: Path) -> None:
    model, spec = converted(
        onnx.load(tiny_bundle), Bundle(tiny_bundle).spec, waveforms=True, precision="fp32", source="run"
    )
    write_bundle(model, spec, tmp_path / "w.onnx")
    with pytest.raises(BundleError) as caught:
        graph_of_bundle(Bundle(tmp_path / "w.onnx"))
    assert str(caught.value) == (
        f"{tmp_path / 'w.onnx'}: takes waveforms, and so is an export itself; export the run or bundle it was made of, "
        "run"
    )


def test_nor_one_of_eight_bits(tiny_bundle: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_bundle)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, dtype=np.int8), "rounded"))
    write_bundle(model, Bundle(tiny_bundle).spec, tmp_path / "w.onnx")
    with pytest.raises(BundleError) as caught:
        graph_of_bundle(Bundle(tmp_path / "w.onnx"))
    assert str(caught.value) == (
        f"{tmp_path / 'w.onnx'}: has the precision int8, and so is an export itself; export the run or bundle it was "
        "made of"
    )


def test_one_of_sixteen_bits_is(tiny_bundle: Path, tmp_path: Path) -> None:
    write_bundle(
        onnx.load(tiny_bundle), msgspec.structs.replace(Bundle(tiny_bundle).spec, licence="x"), tmp_path / "a.onnx"
    )
    assert graph_of_bundle(Bundle(tmp_path / "a.onnx")).graph.output[0].name == "scores"


@pytest.mark.parametrize("parts", [[], ["fold-0"]])
def test_scores_over_time_need_networks_in_torchs_form(tmp_path: Path, parts: list[str]) -> None:
    with pytest.raises(RunError) as caught:
        graph_of_run(tmp_path, [tmp_path / part for part in parts])
    assert str(caught.value) == (
        f"{tmp_path.joinpath(*parts)}: holds no network.pt, from which scores over time are made; give a run's folder "
        "that has it, or leave --frames out"
    )
