"""What several recordings score together is what the tagger says of each alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.audio.decode import decode
from earmark.audio.views import TtaSpec
from earmark.bundle import Bundle, Calibration
from earmark.errors import BundleError
from earmark.serving.scoring import Scored, Scorer
from earmark.tagging import engine as engine_module
from earmark.tagging.engine import Engine
from earmark.tagging.tagger import Tagger, load

MakeBundle = Callable[..., Path]
RATE = 22_050
LENGTHS_S = (0.4, 3.3, 1.0, 6.1)


@pytest.fixture
def recordings(tmp_path: Path, rng: np.random.Generator) -> list[Path]:
    """Noise of several lengths that comes and goes, with silence at its ends."""
    paths = []
    for i, length_s in enumerate(LENGTHS_S):
        n_samples = round(length_s * RATE)
        loudness = np.interp(np.linspace(0, 9, n_samples), np.arange(10), rng.random(10) ** 2 * ([0] + [1] * 8 + [0]))
        paths.append(tmp_path / f"{i}.wav")
        soundfile.write(paths[-1], 0.5 * loudness * rng.uniform(-1, 1, n_samples), RATE, subtype="FLOAT")
    return paths


@pytest.fixture(
    params=["one", "middle window", "trimmed", "combination", "combination with its own views", "calibrated"]
)
def tagger(request: pytest.FixtureRequest, make_tiny_bundle: MakeBundle, tmp_path: Path) -> Tagger:
    front_end = load(make_tiny_bundle(tmp_path / "plain.onnx")).bundle.spec.front_end
    changes: dict[str, dict[str, Any]] = {
        "one": {},
        "middle window": {"windows_weight": 0.3},
        "trimmed": {"front_end": {**front_end, "trim_top_db": 30.0}},
        "calibrated": {"calibration": Calibration(method="temperature", slopes=(0.5,) * 3, offsets=(0.0,) * 3)},
    }
    if request.param.startswith("combination"):
        tta = (None, {"n": 2, "weight": 0.5}) if "views" in request.param else ()
        return load(request.getfixturevalue("make_combination")(tta=tta))
    return load(make_tiny_bundle(tmp_path / "bundle.onnx", **changes[request.param]))


def check(tagger: Tagger, path: Path, scored: Scored, *, timeline: bool) -> None:
    waveform = decode(path)
    np.testing.assert_allclose(scored.scores, tagger.scores(waveform.samples, RATE), atol=2e-6)
    assert scored.duration_s == pytest.approx(waveform.duration_s)
    assert (scored.timeline is not None) == timeline
    if scored.timeline is not None:
        expected = tagger.timeline(path)
        np.testing.assert_allclose(scored.timeline.scores, expected.scores, atol=2e-6)
        np.testing.assert_array_equal(scored.timeline.starts_s, expected.starts_s)
        np.testing.assert_array_equal(scored.timeline.ends_s, expected.ends_s)


def test_recordings_score_together_as_alone(tagger: Tagger, recordings: list[Path]) -> None:
    scorer = Scorer(Engine([tagger]))
    wanted = [i % 2 == 1 for i in range(len(recordings))]
    batch = [scorer.prepare(decode(path), timeline=one) for path, one in zip(recordings, wanted, strict=True)]
    for path, scored, timeline in zip(recordings, scorer.score(batch), wanted, strict=True):
        assert isinstance(scored, Scored)
        check(tagger, path, scored, timeline=timeline)


@pytest.mark.parametrize("timeline", [False, True])
def test_a_long_recording_is_streamed(
    tagger: Tagger, recordings: list[Path], timeline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(tta is not None and tta.n for tta in tagger.own_tta):
        pytest.skip("views are drawn by the clip's name, which the engine knows")
    monkeypatch.setattr(engine_module, "WHOLE_S", 2.0)
    with Engine([tagger], n_workers=2) as engine:
        scorer = Scorer(engine)
        assert scorer.whole_s == 2.0
        scored = scorer.listen(recordings[3], timeline=timeline)
    check(tagger, recordings[3], scored, timeline=timeline)


def test_each_member_is_called_once_for_all(
    make_combination: MakeBundle, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(Engine([load(make_combination())]))
    batch = [scorer.prepare(decode(path), timeline=False) for path in (recordings[0], recordings[2])]
    sizes, original = [], Bundle.outputs
    monkeypatch.setattr(Bundle, "outputs", lambda self, cut: (sizes.append(len(cut)), original(self, cut))[1])
    scorer.score(batch)
    assert len(sizes) == 2
    assert all(size >= 2 for size in sizes)


def test_one_that_fails_does_not_harm_the_others(
    tiny_bundle: Path, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, original = Scorer(Engine([load(tiny_bundle)])), Bundle.outputs

    def scores(self: Bundle, cut: np.ndarray) -> np.ndarray:
        if np.isnan(cut).any():
            raise BundleError("not finite")
        return original(self, cut)

    monkeypatch.setattr(Bundle, "outputs", scores)
    batch = [scorer.prepare(decode(path), timeline=False) for path in recordings[:3]]
    batch[1].cuts[0].parts[0][:] = np.nan
    said = scorer.score(batch)
    assert [type(one) for one in said] == [Scored, BundleError, Scored]


def test_views_of_a_member_are_the_same_each_time(make_combination: MakeBundle, recordings: list[Path]) -> None:
    tagger = load(make_combination(tta=(None, {"n": 3})))
    assert tagger.own_tta[1] == TtaSpec(n=3)
    scorer = Scorer(Engine([tagger]))
    first, second = (scorer.score([scorer.prepare(decode(recordings[1]), timeline=False)])[0] for _ in range(2))
    assert isinstance(first, Scored)
    assert isinstance(second, Scored)
    np.testing.assert_array_equal(first.scores, second.scores)
