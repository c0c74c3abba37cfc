"""What is wrong with files and samples, each with its text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data.check.files import inspect, missing_or_empty, surplus
from earmark.data.manifest import Clip, Manifest
from earmark.data.problem import Problem
from earmark.labels import Vocabulary

RATE = 44_100


def tone(frequency_hz: float = 440.0, level: float = 0.5, duration_s: float = 1.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * RATE)) / RATE)


def clip_of(folder: Path, samples: np.ndarray, name: str = "a.wav", subtype: str = "PCM_16") -> Clip:
    soundfile.write(folder / name, samples, RATE, subtype=subtype)
    return Clip(name, folder / name, ("Bark",))


def only(problems: tuple[Problem, ...]) -> tuple[str, str, str]:
    (problem,) = problems
    assert problem.clips == ("a.wav",)
    return problem.kind, problem.severity, problem.message


def test_a_sound_file_has_no_problems(tmp_path: Path) -> None:
    found = inspect(clip_of(tmp_path, tone()))
    assert found.problems == ()
    assert found.is_usable
    assert found.duration_s == 1.0
    assert found.samples is not None
    assert len(found.samples) == 16_000


def test_missing_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "b.wav").touch()
    clips = [Clip(name, tmp_path / name, ()) for name in ("a.wav", "b.wav")]
    assert [(problem.kind, problem.clips, problem.message) for problem in missing_or_empty(clips)] == [
        ("missing file", ("a.wav",), "'a.wav': its file is not there; fetch it, correct the path, or remove its row"),
        ("empty file", ("b.wav",), "'b.wav': the file is empty (0 bytes); fetch or export it again"),
    ]


def test_a_file_that_is_no_audio_says_what_the_decoder_says(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("<html>not found</html>")
    found = inspect(Clip("a.wav", tmp_path / "a.wav", ()))
    kind, severity, message = only(found.problems)
    assert (kind, severity, found.is_usable) == ("unreadable file", "error", False)
    assert message.startswith("'a.wav': cannot be read as audio (")
    assert str(tmp_path) not in message


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, tone())
    clip.path.write_bytes(clip.path.read_bytes()[:50_000])
    kind, severity, message = only(inspect(clip).problems)
    assert (kind, severity) == ("cut short", "error")
    assert message.startswith("'a.wav': cut short: its header promises ")


def test_a_file_without_samples(tmp_path: Path) -> None:
    kind, severity, message = only(inspect(clip_of(tmp_path, np.zeros(0))).problems)
    assert (kind, severity) == ("empty file", "error")
    assert message == "'a.wav': holds no samples; expected at least one; record or export it again"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    samples = tone()
    samples[22_050] = bad
    kind, severity, message = only(inspect(clip_of(tmp_path, samples, subtype="FLOAT")).problems)
    assert (kind, severity) == ("not finite", "error")
    assert message.startswith(f"'a.wav': sample 22050 (0.500 s) is {bad}; expected finite numbers")


def test_silence(tmp_path: Path) -> None:
    found = inspect(clip_of(tmp_path, np.zeros(RATE)))
    said = "'a.wav': all samples are 0, expected sound; export it again, or leave it out"
    assert only(found.problems) == ("silent", "error", said)
    assert not found.is_usable
    quiet = inspect(clip_of(tmp_path, tone(level=5e-5), subtype="FLOAT"))
    assert only(quiet.problems)[2] == (
        "'a.wav': its peak is -86 dB of full scale, expected sound; export it again, or leave it out"
    )


def test_a_constant(tmp_path: Path) -> None:
    found = inspect(clip_of(tmp_path, np.full(RATE, 0.25)))
    said = "'a.wav': all samples are about 0.25, a constant and no sound; export it again, or leave it out"
    assert only(found.problems) == ("constant", "error", said)


def test_a_clip_that_is_mostly_silent_is_still_used(tmp_path: Path) -> None:
    found = inspect(clip_of(tmp_path, np.concatenate([tone(duration_s=0.5), np.zeros(3 * RATE // 2)])))
    said = "'a.wav': 75% of its 2.00 s are silent; cut the silence off, or keep it as it is"
    assert only(found.problems) == ("mostly silent", "warning", said)
    assert found.is_usable


def test_clipping(tmp_path: Path) -> None:
    clipped = np.clip(tone(level=1.6), -1, 1)
    kind, severity, message = only(inspect(clip_of(tmp_path, clipped)).problems)
    assert (kind, severity) == ("clipped", "warning")
    share = (np.abs(clipped) == 1).mean()
    assert message == (
        f"'a.wav': 880 tops are cut off at full scale, {share:.2%} of the samples; "
        "fetch a version that was recorded less loud, or keep it as it is"
    )


@pytest.mark.parametrize("frequency_hz", [20.0, 50.0, 440.0, 5000.0])
def test_normalising_is_not_clipping(tmp_path: Path, frequency_hz: float) -> None:
    assert inspect(clip_of(tmp_path, tone(frequency_hz, level=1.0))).problems == ()


def test_overshoot_of_a_lossy_codec_is_not_clipping(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 2 * RATE)
    loud = np.convolve(noise, np.hanning(9), "same")
    clip = clip_of(tmp_path, 0.999 * loud / np.abs(loud).max() + 0, "a.ogg", "VORBIS")
    samples, _ = soundfile.read(clip.path)
    assert inspect(Clip("a.wav", clip.path, ())).problems == ()
    assert inspect(clip_of(tmp_path, samples * 1.3, subtype="FLOAT")).problems == ()


def test_a_handful_of_flat_tops_is_not_worth_a_word(tmp_path: Path) -> None:
    samples = tone(level=0.8)
    samples[1000:1004] = 1.0
    assert inspect(clip_of(tmp_path, samples)).problems == ()


def test_a_very_short_clip_and_a_wrong_duration(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, tone(duration_s=0.05))
    said = "'a.wav': lasts 0.050 s, expected 0.1 s or more; is it whole?"
    assert only(inspect(clip).problems) == ("very short", "warning", said)
    longer = clip_of(tmp_path, tone())
    said = "'a.wav': lasts 1.00 s, but its table says 2.50 s; correct the table, or fetch the file again"
    found = inspect(Clip("a.wav", longer.path, (), duration_s=2.5))
    assert only(found.problems) == ("wrong duration", "warning", said)
    assert inspect(Clip("a.wav", longer.path, (), duration_s=1.04)).problems == ()


def test_the_digest_is_of_the_samples_and_not_of_the_file(tmp_path: Path) -> None:
    samples = np.rint(32_767 * tone()).astype(np.int16)
    wav, flac = (inspect(clip_of(tmp_path, samples, name)) for name in ("a.wav", "b.flac"))
    stereo = inspect(clip_of(tmp_path, np.stack([samples, samples], axis=1), "c.wav"))
    assert wav.digest == flac.digest == stereo.digest
    assert inspect(clip_of(tmp_path, samples[:-1], "d.wav")).digest != wav.digest
    soundfile.write(tmp_path / "e.wav", samples, RATE // 2)
    assert inspect(Clip("e.wav", tmp_path / "e.wav", ())).digest != wav.digest


def test_surplus_recordings(tmp_path: Path) -> None:
    for folder in ("audio/deep", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    for name in (
        "audio/a.wav",
        "audio/b.wav",
        "audio/deep/c.FLAC",
        "audio/readme.txt",
        "audio/.d.wav",
        "elsewhere/e.wav",
    ):
        (tmp_path / name).touch()
    (tmp_path / "audio/bad.wav").touch()
    listed = Manifest((Clip("a.wav", tmp_path / "audio/a.wav", ()),), Vocabulary(["Bark"]), tmp_path, "table")
    found = surplus(listed, known=["bad.wav"])
    assert [problem.clips for problem in found] == [("audio/b.wav",), ("audio/deep/c.FLAC",)]
    assert found[0] == Problem(
        "surplus file", ("audio/b.wav",), "'audio/b.wav': is in no table; add a row, or move the file away", "warning"
    )


def test_of_the_collections_own_folder_only_what_lies_in_it_is_surplus(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for name in ("a.wav", "b.wav", "other/c.wav"):
        (tmp_path / name).touch()
    listed = Manifest((Clip("a.wav", tmp_path / "a.wav", ()),), Vocabulary(["Bark"]), tmp_path, "table")
    assert [problem.clips for problem in surplus(listed)] == [("b.wav",)]
