"""Sounds that are none of the embedded model's labels: speech, music, noise, hum, silence.

    python bench/negatives.py train negatives/     # for learning: 300 clips
    python bench/negatives.py test negatives-test/ # a minute of each kind, to count false tags on

Speech is espeak-ng's and music fluidsynth's (`apt-get install espeak-ng fluidsynth fluid-soundfont-gm`). Voices,
programs of the soundfont, colours of noise and seeds of what tests differ from those of what is learned from, so that
nothing of the test was heard before. No program is of an instrument that the model has a label for.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import soundfile

RATE = 44_100
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
LABEL = "None_of_these"
"""What they are labelled as while the model learns; the label is taken out of what is shipped."""


LEARNED_VOICES = (
    "en-us+m1 en-us+f1 de+m3 de+f2 fr-fr+m2 it+f3 es+m4 pl+f4 ru+m5 tr+f1 hi+m6 cmn+f2 pt-br+m1 sv+f3 el+m7 fi+f4 "
    "hu+m3 id+f1 cs+m2 sw+f2"
)
LEARNED_PROGRAMS = "0 2 4 6 8 10 16 18 19 22 46 48 50 52 54 56 58 60 62 72 75 80 82 84 88 90 92 94 96 98 104 108"


@dataclass(frozen=True)
class Side:
    """What one side, learning or testing, is made of.

    Attributes
    ----------
    seed
        Of everything drawn.
    voices
        Of espeak-ng: a language, and behind the plus a variant.
    programs
        Of General MIDI, 0-based.
    exponents
        Limits of a in the noise's power density of 1 / f^a.
    """

    seed: int
    voices: tuple[str, ...]
    programs: tuple[int, ...]
    exponents: tuple[float, float]


SIDES = {
    "train": Side(
        seed=1,
        voices=tuple(LEARNED_VOICES.split()),
        programs=tuple(map(int, LEARNED_PROGRAMS.split())),
        exponents=(-0.5, 2.2),
    ),
    "test": Side(
        seed=2,
        voices=("en-gb+m8", "en-gb+f5", "nl+m1", "ro+f5", "vi+f3", "ar+m8"),
        programs=(1, 5, 17, 20, 51, 53, 57, 61, 81, 89, 93, 99),
        exponents=(0.0, 2.0),
    ),
}

WORDS = "water morning seven mountain open never colour people window listen yesterday river small eleven garden letter"
"""What is read out, in any order and any language's manner."""


def speech(side: Side, rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """Words read out by one voice."""
    voice, text = str(rng.choice(side.voices)), " ".join(rng.choice(WORDS.split(), size=max(4, round(3 * duration_s))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        speed, pitch = int(rng.integers(120, 200)), int(rng.integers(20, 80))
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", path, text], check=True)
        sound, rate = soundfile.read(path, dtype="float32")
    positions = np.arange(0, len(sound) - 1, rate / RATE)
    return np.interp(positions, np.arange(len(sound)), sound).astype(np.float32)


def music(side: Side, rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """Chords and a melody over them, by two programs."""
    chords, lead = (int(p) for p in rng.choice(side.programs, size=2, replace=False))
    beat_s, root = float(rng.uniform(0.3, 0.7)), int(rng.integers(45, 57))
    scale = np.array([0, 2, 4, 5, 7, 9, 11] if rng.random() < 0.5 else [0, 2, 3, 5, 7, 8, 10])
    track = mido.MidiTrack()
    for channel, program in enumerate((chords, lead)):
        track.append(mido.Message("program_change", channel=channel, program=program))
    ticks = 480
    track.append(mido.MetaMessage("set_tempo", tempo=round(beat_s * 1e6)))
    for beat in range(int(duration_s / beat_s) + 2):
        degree = int(rng.integers(7))
        notes = [root + int(scale[(degree + step) % 7]) for step in (0, 2, 4)] if beat % 4 == 0 else []
        melody = root + 12 + int(rng.choice(scale))
        on = [(0, note) for note in notes] + ([(1, melody)] if rng.random() < 0.8 else [])
        for channel, note in on:
            track.append(mido.Message("note_on", channel=channel, note=note, velocity=int(rng.integers(60, 110))))
        wait = ticks
        for channel, note in on:
            track.append(mido.Message("note_off", channel=channel, note=note, time=wait))
            wait = 0
        if not on:
            track.append(mido.Message("control_change", control=64, value=0, time=wait))
    with tempfile.TemporaryDirectory() as folder:
        score, path = Path(folder) / "music.mid", Path(folder) / "music.wav"
        mido.MidiFile(tracks=[track], ticks_per_beat=ticks).save(score)
        command = ["fluidsynth", "-ni", "-q", "-r", str(RATE), "-F", path, SOUNDFONT, score]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)


def noise(side: Side, rng: np.random.Generator, duration_s: float, exponent: float | None = None) -> np.ndarray:
    """Noise whose power density falls by a random power of the frequency."""
    exponent = float(rng.uniform(*side.exponents)) if exponent is None else exponent
    n = round(duration_s * RATE)
    frequencies = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20.0)
    spectrum = rng.standard_normal(len(frequencies)) + 1j * rng.standard_normal(len(frequencies))
    sound = np.fft.irfft(spectrum * frequencies ** (-exponent / 2), n)
    return (sound / sound.std()).astype(np.float32)


def hum(side: Side, rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """The mains, with harmonics, or a lasting tone."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    base_hz = float(rng.choice([50.0, 60.0])) if rng.random() < 0.5 else float(rng.uniform(80, 4000))
    partials = [
        np.sin(2 * np.pi * base_hz * k * time_s + rng.uniform(0, 6)) / k ** rng.uniform(0.5, 2) for k in (1, 2, 3, 5)
    ]
    return (np.sum(partials, axis=0) + 0.05 * noise(side, rng, duration_s)[: len(time_s)]).astype(np.float32)


def silence(side: Side, rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """Nothing, or what a converter makes of it."""
    n = round(duration_s * RATE)
    return np.zeros(n, np.float32) if rng.random() < 0.3 else (rng.standard_normal(n) * 2e-5).astype(np.float32)


KINDS: dict[str, tuple[Callable[[Side, np.random.Generator, float], np.ndarray], int]] = {
    "speech": (speech, 90),
    "music": (music, 100),
    "noise": (noise, 70),
    "hum": (hum, 25),
    "silence": (silence, 15),
}
"""How each kind is made, and how many clips of it are learned from."""


def loud(sound: np.ndarray, peak_db: float, duration_s: float) -> np.ndarray:
    """Cut to a length, and brought to a peak; silence stays as it is."""
    sound = sound[: round(duration_s * RATE)]
    peak = np.abs(sound).max(initial=0.0)
    return sound if peak < 1e-3 else sound * np.float32(10 ** (peak_db / 20) / peak)


def training_clips(side: Side) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, group and sound of each clip of 2 to 6 s."""
    for kind, (make, n_clips) in KINDS.items():
        for number in range(n_clips):
            rng = np.random.default_rng([side.seed, list(KINDS).index(kind), number])
            duration_s = float(rng.uniform(2, 6))
            yield (
                f"{kind}-{number:03d}",
                f"{kind}-{number % 10}",
                loud(make(side, rng, duration_s), float(rng.uniform(-30, -1)), duration_s),
            )


def test_recordings(side: Side) -> Iterator[tuple[str, np.ndarray]]:
    """A minute of each of silence, white, pink and brown noise, speech and music."""
    rng = np.random.default_rng(side.seed)
    yield "silence", np.zeros(60 * RATE, np.float32)
    for name, exponent in (("white", 0.0), ("pink", 1.0), ("brown", 2.0)):
        yield name, loud(noise(side, rng, 60.0, exponent), -12.0, 60.0)
    for name, make in (("speech", speech), ("music", music)):
        parts = [loud(make(side, rng, 10.0), -6.0, 10.0) for _ in range(6)]
        yield name, np.concatenate(parts)


def write_training(folder: Path) -> None:
    """Clips with a table as earmark reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, group, sound in training_clips(SIDES["train"]):
        soundfile.write(folder / f"{name}.flac", sound, RATE)
        rows.append((f"{name}.flac", LABEL, group, "synthesised"))
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "labels", "group", "license"), *rows])
    print(f"{folder}: {len(rows)} clips")


def write_test(folder: Path) -> None:
    """A recording of a minute of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sound in test_recordings(SIDES["test"]):
        soundfile.write(folder / f"{name}.flac", sound, RATE)
        print(folder / f"{name}.flac")


def main() -> None:
    """Parse, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=tuple(SIDES))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    (write_training if arguments.side == "train" else write_test)(arguments.folder)


if __name__ == "__main__":
    main()
