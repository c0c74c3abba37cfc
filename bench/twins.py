"""How many disguised copies of real recordings `earmark data check` finds, and how many pairs it makes up.

    python bench/twins.py ../shared/data/esc10

Takes one clip of each recording of ESC-10's folds 3 to 5 (how much alike copies are was learned from folds 1 and 2; how
much different recordings are, from all of ESC-10), without the silence around it, writes copies in the disguises of the
tests (encoded at some 40 kbit/s, cut by 20 to 40 % at each end, 12 dB louder or softer, at other rates, and several of
these at once), checks all of them together, and writes `bench/results/<collection>/twins.json`: the share found of each
disguise, of all copies and of those of a second and more; pairs of different recordings; and how far offsets are off.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from provenance import provenance

from earmark.audio.decode import decode
from earmark.data.check.collection import check_collection
from earmark.data.layouts import read_collection
from earmark.data.manifest import Clip, Manifest
from earmark.labels import Vocabulary

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data" / "check"))
from disguise import DISGUISES, active, disguise

RESULTS = Path(__file__).parent / "results"
FOLDS = (3, 4, 5)
LONG_S = 1.0
SEED = 5


def write_copies(clips: list[Clip], folder: Path) -> dict[str, tuple[str, str, float, float]]:
    """Write originals and copies; give recording, disguise, offset and length in seconds of each file."""
    rng = np.random.default_rng(SEED)
    written = {}
    for clip in clips:
        waveform = decode(clip.path)
        samples, rate = active(waveform.samples), waveform.sample_rate
        stem = f"{clip.group}"
        soundfile.write(folder / f"{stem}.original.wav", samples, rate)
        written[f"{stem}.original.wav"] = (stem, "original", 0.0, len(samples) / rate)
        for how in DISGUISES:
            offset_s = disguise(samples, rate, how, rng, folder / f"{stem}.{how}.x")
            (path,) = folder.glob(f"{stem}.{how}.*")
            written[path.name] = (stem, how, offset_s, soundfile.info(path).duration)
    return written


def measure(collection: Path) -> dict[str, Any]:
    """All of it."""
    of_recording: dict[str, Clip] = {}
    for clip in read_collection(collection).clips:
        if clip.fold in FOLDS:
            of_recording.setdefault(clip.group or clip.name, clip)
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        written = write_copies(list(of_recording.values()), Path(name))
        clips = tuple(Clip(file, Path(name) / file, ("sound",)) for file in written)
        begun = time.monotonic()
        report = check_collection(Manifest(clips, Vocabulary(["sound"]), Path(name), "folders"), progress=False)
        seconds = time.monotonic() - begun
    pairs = {frozenset((pair.first.name, pair.second.name)): pair for pair in report.twins}
    found: dict[str, list[tuple[bool, bool]]] = {how: [] for how in DISGUISES}
    errors_s = []
    for file, (stem, how, offset_s, duration_s) in written.items():
        if how == "original":
            continue
        pair = pairs.get(frozenset((file, f"{stem}.original.wav")))
        found[how].append((pair is not None, duration_s >= LONG_S))
        if pair is not None:
            signed = pair.offset_s if pair.first.name.endswith(".original.wav") else -pair.offset_s
            errors_s.append(abs(signed - offset_s))
    across = {tuple(sorted(written[file][0] for file in names)) for names in pairs}
    return {
        "n_recordings": len(of_recording),
        "n_clips": len(written),
        "seconds_of_the_check": round(seconds, 1),
        "found_of_all": {how: float(np.mean([hit for hit, _ in hits])) for how, hits in found.items()},
        "found_of_a_second_and_more": {
            how: {"n": sum(long for _, long in hits), "share": float(np.mean([hit for hit, long in hits if long]))}
            for how, hits in found.items()
        },
        "pairs_of_different_recordings": sorted(pair for pair in across if pair[0] != pair[1]),
        "offset_error_s": {f"{share} %": float(np.percentile(errors_s, share)) for share in (50, 90, 99)},
    }


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    collection = parser.parse_args().collection
    begun = provenance("earmark", "numpy", "scipy", "soundfile", "soxr")
    figures = {"command": f"python bench/twins.py {collection.name}", **begun, "seed": SEED, **measure(collection)}
    content = json.dumps(figures, indent=1)
    print(content)
    folder = RESULTS / collection.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "twins.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
