"""A whole collection: recordings that stand in it twice are found, disguised as they are, and no others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.decode import decode
from earmark.audio.synth import LABELS, synthesize
from earmark.data.check.collection import check_collection
from earmark.data.check.comparison import Waveforms
from earmark.data.check.landmarks import SAMPLE_RATE
from earmark.data.check.report import Report
from earmark.data.layouts import read_collection
from earmark.data.manifest import Clip, Manifest
from earmark.data.problem import Problem
from earmark.errors import AudioError
from earmark.labels import Vocabulary

from .disguise import DISGUISES, active, disguise

RATE = 44_100


def collect(folder: Path, groups: dict[str, str] | None = None) -> Manifest:
    """All recordings of a folder, each a source of its own but for those in `groups`."""
    paths = sorted(path for path in folder.iterdir() if path.suffix != ".csv")
    clips = [Clip(path.name, path, ("Bark",), group=(groups or {}).get(path.name)) for path in paths]
    return Manifest(tuple(clips), Vocabulary(["Bark"]), folder, "table")


def check(manifest: Manifest, **how: bool) -> Report:
    return check_collection(manifest, progress=False, **how)


def pairs(report: Report) -> set[frozenset[str]]:
    return {frozenset((pair.first.name, pair.second.name)) for pair in report.twins}


def kinds(report: Report) -> list[str]:
    return [problem.kind for problem in report.problems]


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    soundfile.write(path, samples, rate)
    return samples


def recall(
    folder: Path, recordings: Iterable[tuple[str, np.ndarray, int]], shortest_s: float
) -> tuple[dict[str, float], set[frozenset[str]], dict[frozenset[str], float]]:
    """Share of disguised recordings that are found, by disguise; pairs that are none; errors of offsets in seconds."""
    rng = np.random.default_rng(5)
    offsets_s, of = {}, {}
    for number, (_, samples, rate) in enumerate(recordings):
        original = f"{number:03d}-original"
        soundfile.write(folder / f"{original}.wav", samples, rate)
        for how in DISGUISES:
            name = f"{number:03d}-{how}"
            offset_s = disguise(samples, rate, how, rng, folder / name)
            (path,) = folder.glob(f"{name}.*")
            if soundfile.info(path).duration >= shortest_s:
                offsets_s[frozenset((f"{original}.wav", path.name))], of[path.name] = offset_s, how
    report = check(collect(folder))
    found = {frozenset((pair.first.name, pair.second.name)): pair for pair in report.twins}
    counts: dict[str, list[bool]] = defaultdict(list)
    errors_s = {}
    for names, offset_s in offsets_s.items():
        counts[next(of[name] for name in names if name in of)].append(names in found)
        if names in found:
            is_forward = found[names].first.name.endswith("original.wav")
            errors_s[names] = found[names].offset_s - (offset_s if is_forward else -offset_s)
    wrong = {names for names in found if len({name[:3] for name in names}) > 1}
    return {how: float(np.mean(hits)) for how, hits in counts.items()}, wrong, errors_s


def test_synthesised_recordings_are_recognised_in_every_disguise(tmp_path: Path) -> None:
    labels = [label for label in LABELS if label not in ("Chirp_and_tweet", "Cricket")]  # above what MP3 keeps here
    recordings = [
        (label, synthesize(label, np.random.default_rng([7, number]), duration_s=3.0), RATE)
        for number, label in enumerate(labels)
    ]
    found, wrong, errors_s = recall(tmp_path, recordings, 0.6)
    assert wrong == set()
    assert np.mean(list(found.values())) >= 0.95, found
    assert min(found.values()) >= 0.85, found
    assert np.percentile(np.abs(list(errors_s.values())), 90) < 0.002


@pytest.mark.real_data
def test_real_recordings_are_recognised_in_every_disguise(tmp_path: Path, real_data: Path) -> None:
    # thresholds were chosen on folds 1 and 2
    chosen = [clip for clip in read_collection(real_data / "esc10").clips if clip.fold in (4, 5)][::8]
    waveforms = ((clip.name, decode(clip.path)) for clip in chosen)
    recordings = [(name, active(waveform.samples), waveform.sample_rate) for name, waveform in waveforms]
    assert len(recordings) == 20
    found, wrong, errors_s = recall(tmp_path, recordings, 1.0)
    assert wrong == set()
    assert min(found.values()) >= 0.95, found
    assert np.percentile(np.abs(list(errors_s.values())), 90) < 0.002


@pytest.mark.real_data
def test_the_leak_in_esc10s_official_folds(real_data: Path) -> None:
    esc10 = read_collection(real_data / "esc10")
    cries = tuple(clip for clip in esc10.clips if clip.labels == ("crying_baby",))
    report = check(replace(esc10, clips=cries))
    (leak,) = (problem for problem in report.problems if problem.severity == "error")
    assert leak.kind == "near-duplicates across folds"
    assert leak.clips == ("3-151080-A-20.ogg", "5-151085-A-20.ogg")
    (pair,) = report.twins
    assert pair.offset_s == pytest.approx(0.649, abs=0.002)


def test_what_two_clips_share_is_measured(tmp_path: Path) -> None:
    whole = synthesize("Stream", np.random.default_rng(0), duration_s=4.0)
    write(tmp_path / "a.wav", whole)
    write(tmp_path / "b.wav", whole[RATE : 3 * RATE] / 2)
    (pair,) = check(collect(tmp_path)).twins
    assert (pair.first.name, pair.second.name, pair.is_exact) == ("a.wav", "b.wav", False)
    assert pair.offset_s == pytest.approx(1.0, abs=1e-4)
    assert pair.overlap_s == pytest.approx(2.0, abs=1e-2)
    assert pair.gain_db == pytest.approx(-6.02, abs=0.02)
    assert pair.correlation > 0.99
    assert pair.coherence > 0.95


def test_long_recordings_are_compared_where_they_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.data.check.files.WHOLE_S", 3.0)
    monkeypatch.setattr("earmark.data.check.comparison.WHOLE_S", 3.0)
    monkeypatch.setattr("earmark.data.check.comparison.COMPARED_S", 2.0)
    whole = synthesize("Stream", np.random.default_rng(0), duration_s=12.0)
    write(tmp_path / "a.wav", whole[: 8 * RATE])
    write(tmp_path / "b.wav", whole[3 * RATE :])
    (pair,) = check(collect(tmp_path)).twins
    assert pair.offset_s == pytest.approx(3.0, abs=1e-3)
    assert pair.overlap_s == pytest.approx(5.0, abs=1e-2)
    assert pair.coherence > 0.95


def test_clips_that_hardly_overlap_are_no_twins(tmp_path: Path) -> None:
    whole = synthesize("Stream", np.random.default_rng(0), duration_s=4.0)
    write(tmp_path / "a.wav", whole[: round(2.1 * RATE)])
    write(tmp_path / "b.wav", whole[round(1.9 * RATE) :])
    assert check(collect(tmp_path)).twins == ()


def test_the_same_samples_in_other_files(tmp_path: Path) -> None:
    samples = np.rint(synthesize("Knock", np.random.default_rng(0), duration_s=1.0) * 32_767).astype(np.int16)
    for name in ("a.wav", "b.flac", "c.wav"):
        soundfile.write(tmp_path / name, samples, RATE)
    report = check(collect(tmp_path))
    assert pairs(report) == {frozenset(("a.wav", "b.flac")), frozenset(("a.wav", "c.wav"))}
    assert all(pair.is_exact for pair in report.twins)
    assert kinds(report)[-1] == "duplicates in different groups"
    assert report.problems[-1].clips == ("a.wav", "b.flac", "c.wav")


def test_one_bad_file_does_not_stop_the_rest(tmp_path: Path) -> None:
    samples = synthesize("Knock", np.random.default_rng(0), duration_s=1.0)
    write(tmp_path / "a.wav", samples)
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    write(tmp_path / "c.wav", np.zeros(RATE))
    write(tmp_path / "d.wav", samples / 2)
    (tmp_path / "e.wav").touch()
    manifest = collect(tmp_path)
    gone = Clip("f.wav", tmp_path / "f.wav", ("Bark",))
    report = check(replace(manifest, clips=(*manifest.clips, gone)))
    said = {problem.clips: problem.kind for problem in report.problems if problem.severity == "error"}
    assert said == {
        ("e.wav",): "empty file",
        ("f.wav",): "missing file",
        ("b.wav",): "unreadable file",
        ("c.wav",): "silent",
        ("a.wav", "d.wav"): "near-duplicates in different groups",
    }


def test_silence_is_nobodys_twin(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, np.zeros(RATE))
    assert check(collect(tmp_path)).twins == ()


def with_test(folder: Path) -> Manifest:
    samples = synthesize("Knock", np.random.default_rng(0), duration_s=1.0)
    for name in ("a.wav", "b.wav"):
        write(folder / name, samples)
    manifest = collect(folder)
    return replace(manifest, clips=(manifest.clips[0], replace(manifest.clips[1], subset="test", labels=())))


def test_test_clips_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = with_test(tmp_path)
    opened = []
    inspect = check_collection.__globals__["inspect"]
    monkeypatch.setitem(check_collection.__globals__, "inspect", lambda clip: opened.append(clip.name) or inspect(clip))
    report = check(manifest)
    assert opened == ["a.wav"]
    assert (report.n_test_left_out, report.n_errors) == (1, 0)


def test_test_clips_are_compared_when_asked_for(tmp_path: Path) -> None:
    report = check(with_test(tmp_path), include_test=True)
    assert report.n_test_left_out == 0
    assert "duplicates in test and training" in kinds(report)
    assert "labels differ" not in kinds(report)


def test_a_missing_test_clip_is_told(tmp_path: Path) -> None:
    manifest = with_test(tmp_path)
    manifest.clips[1].path.unlink()
    assert "missing file" in kinds(check(manifest))


def test_a_quick_look_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(clip: Clip) -> None:
        raise AssertionError(f"{clip.name} was decoded")

    (tmp_path / "a.wav").write_text("no audio")
    monkeypatch.setitem(check_collection.__globals__, "inspect", never)
    report = check(collect(tmp_path), quick=True)
    assert kinds(report) == ["rare label"]
    assert report.is_quick


def test_what_is_known_comes_first_and_what_is_packed_is_not_missing(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", synthesize("Knock", np.random.default_rng(0), duration_s=1.0))
    (tmp_path / "listed-twice.wav").touch()
    packed = Clip("p.wav", tmp_path / "p.wav", ("Bark",))
    only = Clip("a.wav", tmp_path / "a.wav", ("Bark",))
    manifest = Manifest((only, packed), Vocabulary(["Bark"]), tmp_path, "table")
    known = [
        Problem("listed twice", ("listed-twice.wav",), "listed twice"),
        Problem("audio still packed", ("p.wav",), "packed", "warning"),
    ]
    report = check_collection(manifest, known=known, progress=False)
    assert list(report.problems[:2]) == known
    assert kinds(report)[2:] == ["rare label"]


def test_clips_that_were_left_out_are_not_surplus(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        write(tmp_path / name, np.zeros(100))
    listed = collect(tmp_path)
    (tmp_path / "d.wav").touch()
    report = check_collection(replace(listed, clips=listed.clips[:1]), listed=listed, quick=True, progress=False)
    assert [problem.clips for problem in report.problems if problem.kind == "surplus file"] == [("d.wav",)]
    assert len(report.clips) == 1


def test_the_report_is_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    for number in range(6):
        write(
            tmp_path / f"{number}.wav",
            synthesize("Knock", np.random.default_rng(number % 4), duration_s=1.0) / (number + 1),
        )
    manifest = collect(tmp_path)
    one, four = (check_collection(manifest, n_workers=n, progress=False).to_json() for n in (1, 4))
    assert one == four
    assert len(pairs(check(manifest))) == 2


def test_waveforms_are_held_as_far_as_memory_allows(tmp_path: Path) -> None:
    samples = [synthesize("Knock", np.random.default_rng(n), duration_s=1.0, sample_rate=SAMPLE_RATE) for n in range(3)]
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, each in zip(paths, samples, strict=True):
        soundfile.write(path, each, SAMPLE_RATE, subtype="FLOAT")
    waveforms = Waveforms(paths, max_bytes=2 * 2 * SAMPLE_RATE)
    for number, each in enumerate(samples):
        waveforms.keep(number, each)
    waveforms.keep(0, None)
    paths[2].unlink()
    assert np.allclose(waveforms.excerpt(2, 1.0, 0, SAMPLE_RATE), samples[2], atol=1e-3)
    assert np.array_equal(waveforms.excerpt(0, 1.0, 100, 50), samples[0][100:150])  # decoded again; 1 makes room
    outside = waveforms.excerpt(0, 1.0, -10, SAMPLE_RATE + 30)
    assert not outside[:10].any()
    assert not outside[-20:].any()
    assert np.allclose(outside[10:-20], samples[0], atol=1e-3)
    paths[1].unlink()
    with pytest.raises(AudioError, match="no such file"):
        waveforms.excerpt(1, 1.0, 0, 10)
