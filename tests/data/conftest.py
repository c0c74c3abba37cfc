"""Tiny generated collections, with the files and columns of the real layouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

SAMPLE_RATE = 8000


def write_tone(path: Path, frequency_hz: float = 440.0, duration_s: float = 0.05) -> None:
    """Write a quiet sine as a WAV file, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * frequency_hz * time_s), SAMPLE_RATE)


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    """Write a text file in UTF-8, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def esc50_folder(tmp_path: Path) -> Path:
    """Six clips of three recordings and three classes in two official folds; targets against the alphabet."""
    rows = [
        "1-100-A-7.wav,1,7,dog,True,100,A",
        "1-100-B-7.wav,1,7,dog,True,100,B",
        "2-200-A-7.wav,2,7,dog,True,200,A",
        "1-300-A-40.wav,1,40,cat,True,300,A",
        "2-400-A-40.wav,2,40,cat,True,400,A",
        "2-500-A-3.wav,2,3,rain,False,500,A",
    ]
    folder = tmp_path / "ESC 50"
    write_lines(folder / "meta" / "esc50.csv", ["filename,fold,target,category,esc10,src_file,take", *rows])
    for row in rows:
        write_tone(folder / "audio" / row.split(",")[0])
    return folder


@pytest.fixture
def fsdkaggle2019_folder(tmp_path: Path) -> Path:
    """Four curated, two noisy and two test clips of three labels, with the sources of all training clips."""
    folder = tmp_path / "FSDKaggle2019"
    curated = ["0a.wav,Bark", '0b.wav,"Meow,Bark"', "0c.wav,Zipper_(clothing)", "0d.wav,Meow"]
    noisy = ['1a.wav,"Bark,Zipper_(clothing)"', "1b.wav,Meow"]
    write_lines(folder / "train_curated.csv", ["fname,labels", *curated])
    write_lines(folder / "train_noisy.csv", ["fname,labels", *noisy])
    write_lines(folder / "sample_submission.csv", ["fname,Meow,Bark,Zipper_(clothing)", "2a.wav,0,0,0", "2b.wav,0,0,0"])
    curated_sources = zip(curated, ["11", "11+12", "13", "12"], strict=True)
    noisy_sources = zip(noisy, ["http://f.example/1", ""], strict=True)
    write_lines(
        folder / "train_curated_post_competition.csv",
        ["fname,labels,freesound_id,license", *(f"{row},{source},CC0" for row, source in curated_sources)],
    )
    write_lines(
        folder / "train_noisy_post_competition.csv",
        ["fname,labels,flickr_video_URL,license", *(f"{row},{source},CC BY" for row, source in noisy_sources)],
    )
    for subset, names in (("train_curated", curated), ("train_noisy", noisy), ("test", ["2a.wav", "2b.wav"])):
        for name in names:
            write_tone(folder / subset / name.split(",")[0])
    return folder


@pytest.fixture
def table_folder(tmp_path: Path) -> Path:
    """Three clips in a `clips.csv`, under a name with a blank and letters beyond ASCII."""
    folder = tmp_path / "eigene Töne"
    rows = ['audio/hund 1.wav,"Bark,Meow",yard,CC0', "audio/größe/ü.wav,Bark,yard,CC0", "audio/猫.wav,Meow,,CC BY"]
    write_lines(folder / "clips.csv", ["path,labels,group,license", *rows])
    for name in ("audio/hund 1.wav", "audio/größe/ü.wav", "audio/猫.wav"):
        write_tone(folder / name)
    return folder
