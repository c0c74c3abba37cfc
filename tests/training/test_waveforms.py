from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec, clip_log_mel
from earmark.data.encoding import Encoding
from earmark.data.manifest import Manifest
from earmark.data.pack import pack
from earmark.data.spectrograms import log_mel_encoding
from earmark.data.store import Store, open_store
from earmark.errors import RecipeError
from earmark.training.pictures import Pictures, spectrograms_of
from earmark.training.waveforms import Waveforms

SPEC = PictureSpec(log_mel=LogMelSpec(sample_rate=8000, n_fft=512, hop_length=200, n_mels=24, fmax=4000.0))
ROWS = np.array([7, 0, 22, 3])
EVERY = torch.arange(4)


def made_spec(log_mel: dict[str, Any] | None = None, **changes: Any) -> PictureSpec:
    return msgspec.structs.replace(SPEC, log_mel=msgspec.structs.replace(SPEC.log_mel, **(log_mel or {})), **changes)


def both(store: Store, spec: PictureSpec) -> tuple[Pictures, Waveforms]:
    pictures = Pictures(spectrograms_of(store, ROWS, spec, progress=False), spec)
    return pictures, Waveforms(store, ROWS, spec, progress=False)


def off_db(pictures: Pictures, waveforms: Waveforms, starts: torch.Tensor, window_frames: int) -> torch.Tensor:
    """How far the frames of the two are apart in dB, (n, window_frames), in bands within 60 dB of a frame's loudest."""
    wanted = pictures.cut_spectrograms(EVERY, starts, window_frames)
    made = waveforms.spectrograms(waveforms.cut(EVERY, starts, window_frames))
    assert made.shape == wanted.shape
    assert made.dtype == torch.float32
    heard = wanted * 28 > wanted.amax(1, keepdim=True) * 28 - 60
    return ((made - wanted).abs() * heard).amax(1) * 28


@pytest.mark.parametrize(
    "spec",
    [
        made_spec(),
        made_spec({"padding": "reflect"}),
        made_spec({"n_fft": 501, "padding": "reflect"}),
        made_spec({"spectrum": "magnitude", "win_length": 400}),
        made_spec(trim_top_db=30.0),
        made_spec(min_duration_s=1.6),
        made_spec(short="wrap"),
    ],
    ids=str,
)
def test_windows_within_a_clip_are_those_of_its_spectrogram_to_its_ends(spec: PictureSpec, tiny_store: Store) -> None:
    pictures, waveforms = both(tiny_store, spec)
    assert waveforms.n_frames.tolist() == pictures.n_frames.tolist()
    for starts in (torch.zeros(4, dtype=torch.long), torch.full((4,), 2), pictures.n_frames - 15):
        assert off_db(pictures, waveforms, starts, 15).max() < 1e-2


def test_pre_emphasis_agrees_but_for_transforms_that_reach_over_a_clips_ends(tiny_store: Store) -> None:
    pictures, waveforms = both(tiny_store, made_spec({"pre_emphasis": 0.97}))
    assert waveforms.n_frames.tolist() == pictures.n_frames.tolist()
    assert off_db(pictures, waveforms, torch.full((4,), 2), 13).max() < 1e-2


@pytest.mark.parametrize("short", ["constant", "wrap"])
def test_short_clips_lie_where_their_spectrogram_does(short: Any, tiny_store: Store) -> None:
    pictures, waveforms = both(tiny_store, made_spec(short=short))
    off = off_db(pictures, waveforms, torch.full((4,), -10), 80)
    inside = [(n + start, n - 4) for n, start in zip(pictures.n_frames.tolist(), [8] * 4, strict=True)]
    for row, (end, length) in enumerate(inside):
        assert length > 10
        assert off[row, 12:end].max() < 1e-2  # but for two frames at either end, which are of both
        if short == "constant":
            assert off[row, :8].max() == 0
            assert off[row, end + 4 :].max() == 0


def test_repeated_clips_go_on_without_a_gap(tiny_store: Store) -> None:
    _, waveforms = both(tiny_store, made_spec(short="wrap"))
    length = waveforms.places[0].n_samples
    cut = waveforms.cut(EVERY[:1], torch.tensor([-30]), 150)[0]
    assert len(cut) == 149 * 200 + 512
    torch.testing.assert_close(cut[length:], cut[:-length])
    never = waveforms.cut(EVERY[:1], torch.tensor([-30]), 150, wraps=torch.tensor([False]))[0]
    begin = 30 * 200 + 256
    assert not never[:begin].any()
    assert not never[begin + length :].any()
    np.testing.assert_array_equal(never[begin : begin + length], tiny_store.waveform(int(ROWS[0])))


def test_long_clips_are_not_repeated(tiny_store: Store) -> None:
    _, waveforms = both(tiny_store, made_spec())
    starts = torch.zeros(4, dtype=torch.long)
    wrapped = waveforms.cut(EVERY, starts, 10, wraps=torch.ones(4, dtype=torch.bool))
    assert torch.equal(wrapped, waveforms.cut(EVERY, starts, 10))
    assert not wrapped[:, :256].any()


@pytest.mark.parametrize(
    "spec",
    [
        made_spec(),
        made_spec({"padding": "reflect", "n_fft": 501}),
        made_spec({"pre_emphasis": 0.5}, trim_top_db=30.0, min_duration_s=1.3),
    ],
    ids=str,
)
def test_held_samples_give_what_the_file_gives(spec: PictureSpec, tiny_store: Store) -> None:
    _, waveforms = both(tiny_store, spec)
    draws = torch.Generator().manual_seed(0)
    clips, wraps = EVERY.repeat(15), torch.rand(60, generator=draws) < 0.5
    windows = [(waveforms.random_starts(clips, n, draws), n) for n in (1, 5, 70)]
    read = [waveforms.cut(clips, starts, n, wraps=wraps) for starts, n in windows]
    waveforms.hold()
    held = [waveforms.cut(clips, starts, n, wraps=wraps) for starts, n in windows]
    for ours, theirs in zip(held, read, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs)


def test_moving_to_a_processor_keeps_reading_the_file(tiny_store: Store) -> None:
    waveforms = Waveforms(tiny_store, ROWS, SPEC, progress=False)
    starts = torch.zeros(4, dtype=torch.long)
    before = waveforms.cut(EVERY, starts, 10)
    assert torch.equal(waveforms.to(torch.device("cpu")).cut(EVERY, starts, 10), before)


def test_random_windows_are_those_of_the_spectrograms(tiny_store: Store) -> None:
    pictures, waveforms = both(tiny_store, made_spec(short="either"))
    clips = EVERY.repeat(50)
    for window_frames in (10, 100):
        ours, theirs = (
            each.random_starts(clips, window_frames, torch.Generator().manual_seed(2)) for each in (waveforms, pictures)
        )
        assert torch.equal(ours, theirs)
    wraps = [each.random_wraps(clips, torch.Generator().manual_seed(2)) for each in (waveforms, pictures)]
    assert torch.equal(*wraps)
    assert 0 < wraps[0].sum() < 200


@pytest.mark.parametrize("normalization", ["clip", "minmax"])
def test_windows_are_normalised_by_their_own_statistics(normalization: Any, tiny_store: Store) -> None:
    waveforms = Waveforms(tiny_store, ROWS, made_spec(normalization=normalization), progress=False)
    made = waveforms.spectrograms(waveforms.cut(EVERY, torch.full((4,), 3), 12))
    if normalization == "clip":
        torch.testing.assert_close(made.mean((1, 2)), torch.zeros(4), atol=1e-4, rtol=0)
        torch.testing.assert_close(made.std((1, 2), correction=0), torch.ones(4), atol=1e-4, rtol=0)
    else:
        torch.testing.assert_close(made.amax((1, 2)), torch.ones(4))
        torch.testing.assert_close(made.amin((1, 2)), torch.zeros(4))


def test_centred_clip_is_that_of_the_tagger(tiny_store: Store) -> None:
    spec = made_spec(min_duration_s=2.0, trim_top_db=40.0)
    waveforms = Waveforms(tiny_store, ROWS, spec, progress=False)
    n_frames = int(waveforms.n_frames[1])
    made = waveforms.spectrograms(waveforms.cut(EVERY[1:2], torch.tensor([0]), n_frames))[0] * 28 - 40
    wanted = torch.from_numpy(clip_log_mel(tiny_store.waveform(int(ROWS[1])), spec))
    heard = wanted > wanted.amax(0) - 60
    assert (made - wanted).abs()[heard].max() < 1e-2


def test_stores_that_hold_something_else_are_refused(tiny_manifest: Manifest, tmp_path: Any, tiny_store: Store) -> None:
    pack(tiny_manifest, tmp_path / "log-mel", log_mel_encoding(SPEC), progress=False)
    with pytest.raises(RecipeError, match="the store holds log-mel spectrograms, but the recipe changes waveforms"):
        Waveforms(open_store(tmp_path / "log-mel"), ROWS, SPEC)
    with pytest.raises(RecipeError, match="the store holds 8000 Hz, the recipe wants 16000 Hz"):
        Waveforms(tiny_store, ROWS, made_spec({"sample_rate": 16_000}))
    assert tiny_store.encoding == Encoding.waveform(8000)
