from __future__ import annotations

import numpy as np
import pytest
import torch

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec, normalize, to_channels, windows
from earmark.data.store import Store
from earmark.errors import RecipeError
from earmark.training.pictures import Pictures, spectrograms_of

LENGTHS = (10, 25, 3)


@pytest.fixture(params=["affine", "clip", "colour"])
def spec(request: pytest.FixtureRequest) -> PictureSpec:
    log_mel = LogMelSpec(n_mels=12)
    if request.param == "colour":
        return PictureSpec(log_mel=log_mel, channels="colour", normalization="clip")
    return PictureSpec(log_mel=log_mel, normalization=request.param)


@pytest.fixture
def spectrograms(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.uniform(-120, 0, (12, n)).astype(np.float32).clip(-100) for n in LENGTHS]


def test_windows_are_those_that_the_tagger_cuts(spec: PictureSpec, spectrograms: list[np.ndarray]) -> None:
    pictures = Pictures(spectrograms, spec)
    clips, starts = pictures.all_windows(10, 6)
    ours = pictures.cut(clips, starts, 10).numpy()
    theirs = [windows(to_channels(normalize(s, spec), spec), 10, 6, spec.silence) for s in spectrograms]
    assert clips.tolist() == [0, 1, 1, 1, 1, 2]
    np.testing.assert_allclose(ours, np.concatenate(theirs), atol=1e-5)


def test_random_windows_lie_within_long_clips_and_around_short_ones(
    spec: PictureSpec, spectrograms: list[np.ndarray]
) -> None:
    pictures = Pictures(spectrograms, spec)
    clips = torch.tensor([0, 1, 2]).repeat(200)
    starts = pictures.random_starts(clips, 10, torch.Generator().manual_seed(0))
    assert set(starts[clips == 0].tolist()) == {0}
    assert set(starts[clips == 1].tolist()) == set(range(16))
    assert set(starts[clips == 2].tolist()) == set(range(-7, 1))


def test_short_clip_is_surrounded_by_silence(spec: PictureSpec, spectrograms: list[np.ndarray]) -> None:
    cut = Pictures(spectrograms, spec).cut(torch.tensor([2]), torch.tensor([-4]), 10)
    silence = torch.tensor(spec.silence)
    assert torch.allclose(cut[..., :4], silence)
    assert torch.allclose(cut[..., 7:], silence)
    assert not torch.allclose(cut[..., 4:7], silence)


def test_gain_is_added_in_db(spectrograms: list[np.ndarray]) -> None:
    spec = PictureSpec(log_mel=LogMelSpec(n_mels=12), mean=-40, std=20)
    pictures, clip, start = Pictures(spectrograms, spec), torch.tensor([0]), torch.tensor([0])
    louder = pictures.cut(clip, start, 10, gain_db=torch.tensor([[5.0]]))
    expected = np.maximum((spectrograms[0] + 5 + 40) / 20, spec.silence)
    np.testing.assert_allclose(louder[0, 0].numpy(), expected, atol=1e-5)


def test_other_rate_than_the_stores_is_refused(tiny_store: Store) -> None:
    spec = PictureSpec(log_mel=LogMelSpec(sample_rate=16000, fmax=8000))
    with pytest.raises(RecipeError, match="the store holds 8000 Hz, the recipe wants 16000 Hz"):
        spectrograms_of(tiny_store, np.arange(2), spec, progress=False)
