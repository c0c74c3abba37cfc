"""What packing will come to is known before anything is decoded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.data import plan as plan_module
from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.data.pack import plan_pack
from earmark.data.plan import CSV_BYTES, audio_digest, label_digest, sources_of
from earmark.data.spectrograms import log_mel_encoding
from earmark.errors import StoreError
from earmark.labels import Vocabulary

from .storing import RATE, VOCABULARY, WAVEFORM, error_of, manifest_of, noise_of, packed

SPEC = PictureSpec(log_mel=LogMelSpec(sample_rate=RATE, n_fft=256, hop_length=100, n_mels=12, fmax=4000))


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
@pytest.mark.parametrize("least_s", [0.0, 0.7])
def test_size_of_spectrograms_is_foretold(dtype: str, least_s: float, tmp_path: Path) -> None:
    manifest = noise_of(tmp_path / "noise", 9)
    encoding = log_mel_encoding(PictureSpec(log_mel=SPEC.log_mel, min_duration_s=least_s), dtype)
    plan = plan_pack(manifest, tmp_path / "store", encoding)
    assert plan.n_bytes - 9 * CSV_BYTES == packed(manifest, tmp_path / "store", encoding).values.nbytes


@pytest.mark.parametrize("rate", [RATE, 11_025])
def test_size_of_waveforms_is_foretold(rate: int, tmp_path: Path) -> None:
    manifest = noise_of(tmp_path / "noise", 9)
    plan = plan_pack(manifest, tmp_path / "store", Encoding.waveform(rate))
    assert plan.n_bytes - 9 * CSV_BYTES == packed(manifest, tmp_path / "store", Encoding.waveform(rate)).values.nbytes
    assert plan.durations_s.tolist() == [soundfile.info(clip.path).duration for clip in manifest.clips]


def test_summary(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "in", {"a.wav": np.zeros(RATE * 36), "b.wav": np.zeros(RATE * 36)})
    plan = replace(plan_pack(manifest, tmp_path / "store", WAVEFORM), free_bytes=80_500_000_000)
    assert plan.summary() == "2 clips, 0.02 hours: 1.2 MB as waveform int16 at 8000 Hz; 80.5 GB free"
    trimmed = log_mel_encoding(PictureSpec(log_mel=SPEC.log_mel, trim_top_db=40.0), "uint8")
    plan = replace(plan_pack(manifest, tmp_path / "store", trimmed), free_bytes=10)
    assert plan.summary() == "2 clips, 0.02 hours: at most 69.5 kB as log-mel uint8 at 8000 Hz; 10 bytes free"
    plan.check_room(tmp_path)  # it may turn out to be small enough


def test_lengths_that_nobody_knows(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "in", {"a.wav": np.zeros(1000), "b.wav": np.zeros(1000)})
    frameless = tmp_path / "in" / "c.mp3"  # an MP3 without a header that counts its frames
    soundfile.write(frameless, np.zeros(20_000), 16_000, format="MP3")
    content = frameless.read_bytes()
    frameless.write_bytes(content.replace(b"Xing", bytes(4)).replace(b"Info", bytes(4)))
    clips = (*manifest.clips, Clip("c", frameless, ()))
    plan = plan_pack(replace(manifest, clips=clips), tmp_path / "store", WAVEFORM)
    assert np.isnan(plan.durations_s).tolist() == [False, False, True]
    assert plan.n_bytes == 3 * 2000 + 3 * CSV_BYTES  # counted as the others on average
    assert plan.summary().startswith("3 clips, 0.00 hours and 1 of unknown length: 6.6 kB as ")


def test_what_a_manifest_says_is_not_looked_up(tmp_path: Path) -> None:
    clips = (Clip("a", tmp_path / "a.wav", (), duration_s=2.5), Clip("b", tmp_path / "b.wav", ()))
    plan = plan_pack(Manifest(clips, VOCABULARY, tmp_path, "table"), tmp_path / "store", WAVEFORM)
    assert plan.durations_s.tolist() == [2.5, 0.0]  # neither is there


def test_room_for_what_is_still_to_come_and_for_scratch_files(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "in", {"a.wav": np.zeros(1000)})
    clips = (replace(manifest.clips[0], duration_s=1000.0), *(Clip(str(i), tmp_path / str(i), ()) for i in range(3)))
    long = [replace(clip, duration_s=2000.0 + i) for i, clip in enumerate(clips)]
    plan = plan_pack(replace(manifest, clips=tuple(long)), tmp_path / "store", WAVEFORM, n_workers=2)
    assert plan.n_scratch_bytes == 4 * RATE * (2003 + 2002)
    needed = plan.n_bytes + plan.n_scratch_bytes
    replace(plan, free_bytes=needed).check_room(tmp_path)
    plan = replace(plan, free_bytes=needed - 1_000_000)
    plan.check_room(tmp_path, n_present=1_000_000)
    assert error_of(lambda: plan.check_room(tmp_path / "store"), StoreError) == (
        f"{tmp_path / 'store'}: 256.3 MB are needed and 255.3 MB are free; make room, name a folder on another disk, "
        "or pack at a lower rate or as log-mel (--log-mel)"
    )


class TestDigests:
    def test_of_recordings(self, tmp_path: Path) -> None:
        manifest = noise_of(tmp_path / "noise", 4)

        def digest(manifest: Manifest, encoding: Encoding = WAVEFORM) -> str:
            root = os.path.abspath(manifest.root)
            return audio_digest(sources_of(manifest, root), encoding, root)

        first, *others = manifest.clips
        before = digest(manifest)
        assert digest(manifest) == before
        assert digest(replace(manifest, clips=(replace(first, labels=("Bark",), fold=3), *others))) == before
        digests = {
            before,
            digest(manifest, Encoding.waveform(16_000)),
            digest(manifest, log_mel_encoding(SPEC)),
            digest(manifest, log_mel_encoding(SPEC, "uint8")),
            digest(replace(manifest, clips=manifest.clips[::-1])),
            digest(replace(manifest, clips=manifest.clips[1:])),
            digest(replace(manifest, clips=(replace(first, name="other"), *others))),
            digest(replace(manifest, root=tmp_path)),
        }
        os.utime(first.path, ns=(0, 0))
        digests.add(digest(manifest))
        first.path.unlink()
        digests.add(digest(manifest))
        assert len(digests) == 10

    def test_of_labels(self, tmp_path: Path) -> None:
        clip = Clip("a", tmp_path / "a.wav", ())
        clips = [
            clip,
            replace(clip, labels=("Bark",)),
            replace(clip, subset="noisy"),
            replace(clip, group="yard"),
            replace(clip, fold=3),
            replace(clip, duration_s=3.0),
            replace(clip, license="CC0"),
        ]
        manifests = [Manifest((clip,), VOCABULARY, tmp_path, "table") for clip in clips]
        manifests += [replace(manifests[0], layout="esc50"), replace(manifests[0], vocabulary=Vocabulary(["Bark"]))]
        assert len({label_digest(manifest) for manifest in manifests}) == 9
        assert label_digest(manifests[0]) == label_digest(replace(manifests[0], root=Path("/")))


def test_lengths_in_a_large_collection_are_told_by_the_sizes_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "MOST_HEADERS", 4)
    rng = np.random.default_rng(0)
    lengths = [1000 * (2 + number % 5) for number in range(20)]
    waveforms = {
        f"{number:02d}.{'flac' if number % 2 else 'wav'}": rng.uniform(-0.5, 0.5, n).astype(np.float32)
        for number, n in enumerate(lengths)
    }
    (tmp_path / "in").mkdir()
    for name, samples in waveforms.items():
        soundfile.write(tmp_path / "in" / name, samples, RATE, subtype="PCM_16")
    clips = tuple(Clip(name, tmp_path / "in" / name, ()) for name in waveforms)
    clips = (*clips, Clip("said", tmp_path / "in" / "none.wav", (), duration_s=7.0))
    opened: list[Path] = []
    stream = plan_module.stream
    monkeypatch.setattr(plan_module, "stream", lambda path: opened.append(path) or stream(path))
    plan = plan_pack(Manifest(clips, VOCABULARY, tmp_path / "in", "table"), tmp_path / "store", WAVEFORM)
    assert len(opened) == 4
    assert plan.is_estimate
    stated_s = [n / RATE for n in lengths]
    np.testing.assert_allclose(plan.durations_s, [*stated_s, 7.0], rtol=0.03)
    assert plan.durations_s[-1] == 7.0
    assert ": about " in plan.summary()
    full = replace(plan, free_bytes=round(0.97 * plan.n_bytes))
    full.check_room(tmp_path)  # it may just be room enough
    with pytest.raises(StoreError, match="make room"):
        replace(plan, free_bytes=round(0.9 * plan.n_bytes)).check_room(tmp_path)


def test_a_small_collection_is_not_estimated(tmp_path: Path) -> None:
    assert not plan_pack(noise_of(tmp_path / "noise", 3), tmp_path / "store", WAVEFORM).is_estimate
