from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import N_CHANNELS, PictureSpec, band_statistics, clip_log_mel, windows
from earmark.data.manifest import Manifest
from earmark.data.pack import pack
from earmark.data.spectrograms import log_mel_encoding
from earmark.data.store import Store, open_store
from earmark.errors import RecipeError
from earmark.training.crossval import measured
from earmark.training.pictures import Pictures, check_store, spectrograms_of

LENGTHS = (10, 25, 3)
STORED = PictureSpec(log_mel=LogMelSpec(sample_rate=8000, n_fft=512, n_mels=12, fmax=4000))
NORMALIZATIONS = ("affine", "band", "clip", "minmax", "levels")


def made_spec(channels: Any, normalization: Any, short: Any = "constant", **log_mel: Any) -> PictureSpec:
    spec = PictureSpec(log_mel=LogMelSpec(n_mels=12, **log_mel), channels=channels, short=short)
    if normalization == "levels":
        return msgspec.structs.replace(spec, normalization="minmax", n_levels=256)
    return msgspec.structs.replace(spec, normalization=normalization)


@pytest.fixture(params=["affine", "clip", "minmax", "colour"])
def spec(request: pytest.FixtureRequest) -> PictureSpec:
    if request.param == "colour":
        return made_spec("colour", "minmax")
    return made_spec("grey", request.param)


@pytest.fixture
def spectrograms(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.uniform(-120, 0, (12, n)).astype(np.float32).clip(-100) for n in LENGTHS]


@pytest.mark.parametrize("channels", N_CHANNELS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("short", ["constant", "wrap", "either"])
def test_windows_are_those_that_the_tagger_cuts(
    channels: str, normalization: str, short: str, spectrograms: list[np.ndarray]
) -> None:
    spec = measured(made_spec(channels, normalization, short), spectrograms)
    pictures = Pictures(spectrograms, spec)
    clips, starts, weights = pictures.all_windows(10, 6)
    ours = pictures.cut(clips, starts, 10).numpy()
    theirs = np.concatenate([windows(s, spec, 10, 6) for s in spectrograms])
    assert clips.tolist() == [0, 1, 1, 1, 1, 2]
    assert weights.tolist() == [1, 0.25, 0.25, 0.25, 0.25, 1]
    assert ours.dtype == np.float32
    # a value next to the middle between two levels may go to either
    np.testing.assert_allclose(ours, theirs, atol=1.01 / 255 if normalization == "levels" else 1e-5)
    assert (np.abs(ours - theirs) > 1e-5).mean() < 0.01


@pytest.mark.parametrize("scale", ["db", "ln"])
def test_silence_beyond_a_clip_is_what_a_silent_clip_is(scale: str) -> None:
    spec = made_spec("grey", "affine", scale=scale, floor_db=-50.0, floor="add")
    silent = clip_log_mel(np.zeros(3200, dtype=np.float32), spec)
    cut = Pictures([silent], spec).cut(torch.tensor([0]), torch.tensor([-5]), 30)
    np.testing.assert_allclose(cut.numpy(), cut.numpy()[..., 15:16].repeat(30, axis=-1), atol=1e-5)


def test_only_band_normalisation_is_measured(spectrograms: list[np.ndarray]) -> None:
    for normalization in ("affine", "clip", "minmax"):
        spec = made_spec("grey", normalization)
        assert measured(spec, spectrograms) is spec
    spec = measured(made_spec("grey", "band"), spectrograms)
    assert (spec.mean, spec.std) == band_statistics(spectrograms)


def test_pictures_of_measured_bands_are_standard(spectrograms: list[np.ndarray]) -> None:
    spec = measured(made_spec("grey", "band"), spectrograms)
    pictures = Pictures(spectrograms, spec)
    cut = [pictures.cut(torch.tensor([i]), torch.tensor([0]), n)[0, 0] for i, n in enumerate(LENGTHS)]
    frames = torch.cat(cut, dim=1)
    torch.testing.assert_close(frames.mean(1), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(frames.std(1, correction=0), torch.ones(12), atol=1e-5, rtol=0)


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
    silence = windows(spectrograms[2], spec, 10, 1)[..., -1:]
    expected = torch.from_numpy(silence).expand_as(cut)
    torch.testing.assert_close(cut[..., :4], expected[..., :4])
    torch.testing.assert_close(cut[..., 7:], expected[..., 7:])
    assert not torch.allclose(cut[..., 4:7], expected[..., 4:7])


def test_short_clip_is_repeated_before_and_after_itself(spec: PictureSpec, spectrograms: list[np.ndarray]) -> None:
    pictures = Pictures(spectrograms, msgspec.structs.replace(spec, short="wrap"))
    own = pictures.cut(torch.tensor([2]), torch.tensor([0]), 3)
    cut = pictures.cut(torch.tensor([2]), torch.tensor([-4]), 10)
    torch.testing.assert_close(cut, own[..., [2, 0, 1, 2, 0, 1, 2, 0, 1, 2]])


def test_repetition_may_be_said_for_each_clip(spec: PictureSpec, spectrograms: list[np.ndarray]) -> None:
    pictures = Pictures(spectrograms, spec)
    clips, starts = torch.tensor([2, 2, 1]), torch.tensor([-2, -2, 4])
    cut = pictures.cut(clips, starts, 10, wraps=torch.tensor([True, False, True]))
    always = Pictures(spectrograms, msgspec.structs.replace(spec, short="wrap")).cut(clips, starts, 10)
    never = pictures.cut(clips, starts, 10)
    assert torch.equal(cut[0], always[0])
    assert torch.equal(cut[1], never[1])
    assert torch.equal(cut[2], never[2])  # a clip longer than the window has nothing to repeat
    assert not torch.equal(always[0], never[0])


@pytest.mark.parametrize(("short", "share"), [("constant", 0.0), ("wrap", 1.0), ("either", 0.5)])
def test_chance_of_repetition(short: str, share: float, spectrograms: list[np.ndarray]) -> None:
    pictures = Pictures(spectrograms, made_spec("grey", "affine", short))
    clips = torch.zeros(4000, dtype=torch.long)
    wraps = pictures.random_wraps(clips, torch.Generator().manual_seed(0))
    assert wraps.dtype == torch.bool
    assert abs(wraps.float().mean().item() - share) < 0.05
    assert torch.equal(wraps, pictures.random_wraps(clips, torch.Generator().manual_seed(0)))


def test_gain_is_added_in_db(spectrograms: list[np.ndarray]) -> None:
    spec = PictureSpec(log_mel=LogMelSpec(n_mels=12), mean=-40.0, std=20.0)
    pictures, clip, start = Pictures(spectrograms, spec), torch.tensor([0]), torch.tensor([0])
    louder = pictures.cut(clip, start, 10, gain_db=torch.tensor([[5.0]]))
    expected = (spectrograms[0] + 5 + 40) / 20
    np.testing.assert_allclose(louder[0, 0].numpy(), expected, atol=1e-5)
    softer = pictures.cut(clip, start, 10, gain_db=torch.tensor([[-30.0]]))
    np.testing.assert_allclose(softer[0, 0].numpy(), np.maximum((spectrograms[0] - 30 + 40) / 20, -3), atol=1e-5)


def test_gain_is_in_db_whatever_the_unit(spectrograms: list[np.ndarray]) -> None:
    spec = made_spec("grey", "affine", scale="ln", spectrum="magnitude")
    nepers = [s / spec.log_mel.db_per_unit for s in spectrograms]
    pictures, clip, start = Pictures(nepers, spec), torch.tensor([1]), torch.tensor([0])
    once, twice = pictures.cut(clip, start, 25), pictures.cut(clip, start, 25, gain_db=torch.full((1, 12), 6.0206))
    torch.testing.assert_close(twice - once, torch.full_like(once, np.log(2) / 28), atol=1e-5, rtol=0)


def test_other_rate_than_the_stores_is_refused(tiny_store: Store) -> None:
    spec = PictureSpec(log_mel=LogMelSpec(sample_rate=16000, fmax=8000))
    with pytest.raises(RecipeError, match="the store holds 8000 Hz, the recipe wants 16000 Hz"):
        spectrograms_of(tiny_store, np.arange(2), spec, progress=False)


@pytest.fixture(scope="module")
def tiny_spectrograms(tiny_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Store]:
    """The tiny collection packed as spectrograms: `tiny_spectrograms("uint8")`."""

    def packed(dtype: str) -> Store:
        folder = tmp_path_factory.mktemp("store") / dtype
        pack(tiny_manifest, folder, log_mel_encoding(STORED, dtype), progress=False)
        return open_store(folder)

    return packed


@pytest.mark.parametrize(("dtype", "bound_db"), [("float16", 1 / 32), ("uint8", 0.25)])
def test_spectrograms_of_either_kind_of_store_are_the_same_but_for_rounding(
    dtype: str, bound_db: float, tiny_store: Store, tiny_spectrograms: Callable[[str], Store]
) -> None:
    rows = np.array([3, 0, 17])
    made = spectrograms_of(tiny_store, rows, STORED, progress=False)
    read = spectrograms_of(tiny_spectrograms(dtype), rows, STORED, progress=False)
    for ours, theirs in zip(read, made, strict=True):
        assert ours.shape == theirs.shape
        # the waveforms are rounded too, by some 1e-5 of their peak
        loud = theirs > theirs.max() - 60
        assert np.abs(ours - theirs)[loud].max() < bound_db + 0.05
    cut = [Pictures(each, STORED).cut(torch.tensor([1]), torch.tensor([0]), 20) for each in (read, made)]
    assert cut[0].shape == cut[1].shape
    assert cut[0].dtype == torch.float32


def test_spectrograms_of_another_front_end_are_refused(tiny_spectrograms: Callable[[str], Store]) -> None:
    store = tiny_spectrograms("float16")
    check_store(store, msgspec.structs.replace(STORED, channels="delta", mean=-20.0, short="wrap"))
    other = msgspec.structs.replace(
        STORED, trim_top_db=30.0, log_mel=msgspec.structs.replace(STORED.log_mel, n_mels=24, scale="ln")
    )
    with pytest.raises(RecipeError) as caught:
        spectrograms_of(store, np.arange(2), other, progress=False)
    assert str(caught.value) == (
        "the store's spectrograms were made with trim_top_db 0.0 (the recipe: 30.0), log_mel.n_mels 12 (the recipe: "
        "24), log_mel.scale db (the recipe: ln); set the recipe to the store's values (--set picture.KEY=VALUE), or "
        "pack the collection again with --log-mel and this recipe"
    )


def test_spectrograms_are_those_of_the_tagger(tiny_store: Store) -> None:
    spec = msgspec.structs.replace(STORED, min_duration_s=1.0)
    made = spectrograms_of(tiny_store, np.array([3, 0]), spec, progress=False)
    for index, spectrogram in zip([3, 0], made, strict=True):
        np.testing.assert_array_equal(spectrogram, clip_log_mel(tiny_store.waveform(index), spec))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("gain", ["none", "level", "bands"])
def test_accelerator_gathers_what_a_processor_copies(
    normalization: str, gain: str, spectrograms: list[np.ndarray]
) -> None:
    pictures = Pictures(spectrograms, measured(made_spec("grey", normalization), spectrograms))
    draws = torch.Generator().manual_seed(0)
    clips = torch.randint(3, (60,), generator=draws)
    starts = torch.randint(-12, 30, (60,), generator=draws)
    wraps = torch.rand(60, generator=draws) < 0.5
    added = None if gain == "none" else torch.randn(60, 12 if gain == "bands" else 1, generator=draws)
    copied, gathered = (make(clips, starts, 10, added, wraps) for make in (pictures._copied, pictures._gathered))
    torch.testing.assert_close(copied, gathered)


def test_weights_of_a_clips_windows_sum_to_one(spectrograms: list[np.ndarray]) -> None:
    pictures = Pictures(spectrograms, made_spec("grey", "affine"))
    clips, starts, weights = pictures.all_windows(10, 6, 0.4)
    assert starts[clips == 1].tolist() == [0, 6, 12, 15, 7]
    torch.testing.assert_close(weights[clips == 1], torch.tensor([0.1, 0.1, 0.1, 0.1, 0.6]))
    torch.testing.assert_close(torch.zeros(3).index_add_(0, clips, weights), torch.ones(3))
