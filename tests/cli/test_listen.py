"""`earmark listen`: a file, and a microphone that is played to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

Run = Callable[..., tuple[int, str, str]]
RATE = 16_000


def sound() -> np.ndarray:
    """Three seconds of 300 Hz, four of 5000 Hz."""
    time_s = np.arange(7 * RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * np.where(time_s < 3, 300, 5000) * time_s)).astype(np.float32)


@pytest.fixture
def listen(run_earmark: Run, tiny_bundle: Path) -> Run:
    return lambda *more: run_earmark("listen", "-m", tiny_bundle, "--threshold", "0.7", "--release", "1", *more)


def labels(out: str) -> list[tuple[str, list[str]]]:
    lines = [line.split("  ") for line in out.splitlines()]
    return [(time, [one.split(" ")[0] for one in said]) for time, *said in lines]


def test_a_file(listen: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound(), RATE)
    status, out, err = listen("--from", tmp_path / "a.wav")
    assert status == 0
    assert labels(out) == [("0:00:01.0", ["low"]), ("0:00:04.0", ["high"])]
    assert err.startswith("earmark: heard 7 times, each 1 s; from the last sample to the result ")


def test_a_file_of_nothing_much(listen: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound()[:100], RATE)
    assert listen("--from", tmp_path / "a.wav") == (0, "", "earmark: less than 1 s of sound came; nothing was heard\n")


def test_a_file_that_is_not_there(listen: Run, tmp_path: Path) -> None:
    status, out, err = listen("--from", tmp_path / "a.wav")
    assert (status, out) == (1, "")
    assert "a.wav: no such file" in err


def fake_sounddevice(n_lost: int = 0) -> ModuleType:
    """A microphone that plays `sound`, then is interrupted by Ctrl-C."""

    class InputStream:
        latency = 0.02

        def __init__(self, *, samplerate: int, blocksize: int, callback: Any, **options: Any) -> None:
            assert options == {"device": 3, "channels": 1, "dtype": "float32"}
            self._callback, self._n_block = callback, blocksize

        def __enter__(self) -> InputStream:
            played = sound()[:, None]
            for i in range(0, len(played), self._n_block):
                self._callback(played[i : i + self._n_block], self._n_block, None, i < n_lost * self._n_block)
            return self

        def __exit__(self, *error: object) -> None:
            pass

    class PortAudioError(Exception):
        pass

    def query_devices(device: object, kind: str) -> dict[str, float]:
        if device != 3:
            raise PortAudioError("no device")
        return {"default_samplerate": float(RATE)}

    module = ModuleType("sounddevice")
    vars(module).update(InputStream=InputStream, PortAudioError=PortAudioError, query_devices=query_devices)
    return module


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C as soon as all that was played is heard."""

    def endless(waiting: Any) -> Any:
        while not waiting.empty():
            yield waiting.get()
        raise KeyboardInterrupt

    monkeypatch.setattr("earmark.cli.listen._endless", endless)


@pytest.mark.usefixtures("interrupted")
def test_a_microphone(listen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice())
    status, out, err = listen("--device", "3")
    assert status == 0
    assert labels(out) == [("0:00:01.0", ["low"]), ("0:00:04.0", ["high"])]
    assert err.endswith("at the most, 20 ms in the sound card\n")


@pytest.mark.usefixtures("interrupted")
def test_sound_that_is_lost_is_told(listen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(n_lost=2))
    assert "earmark: 2 blocks of 0.1 s were lost; hear less often, --every" in listen("--device", "3")[2]


@pytest.mark.usefixtures("interrupted")
def test_more_waits_than_there_is_room_for(listen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.cli.listen.WAITING_S", 1.0)
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice())
    assert "earmark: 60 blocks of 0.1 s were lost" in listen("--device", "3")[2]


def test_no_microphone(listen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice())
    status, _, err = listen("--device", "other")
    assert status == 2
    assert err == (
        "earmark: no microphone can be opened (no device); choose one with --device, or hear a file with --from\n"
    )


def test_what_is_not_installed(listen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    status, _, err = listen()
    assert status == 2
    assert err == "earmark: a microphone needs libraries that are not installed: pip install 'earmark[listen]'\n"


def test_portaudio_is_not_there(listen: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    status, _, err = listen()
    assert status == 2
    assert "PortAudio is not installed (PortAudio library not found); on Debian and Ubuntu: apt" in err
