"""Zero-shot: an AudioSet bundle on ESC-10, whose ten classes it was never told.

    earmark import efficientat mn04_as_mAP_432.pt -o mn04.onnx
    python bench/zeroshot.py mn04.onnx ../shared/data/esc10 -o bench/results/esc10/zeroshot-mn04.json

Of AudioSet's labels only those in `LABELS_OF` count. A class scores as its best label does, and a clip is heard right
when its own class scores best. Nothing is learned, chosen or fitted on the clips: the labels were written down from
their names, before any clip was scored. The file tells the accuracy, overall, by fold and by class, and what is taken
for what.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance

from earmark.audio.decode import decode
from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.tagging.tagger import Tagger, load

LABELS_OF = {
    "chainsaw": ("Chainsaw",),
    "clock_tick": ("Clock", "Tick", "Tick-tock"),
    "crackling_fire": ("Fire", "Crackle"),
    "crying_baby": ("Baby_cry_and_infant_cry",),
    "dog": ("Dog", "Bark"),
    "helicopter": ("Helicopter",),
    "rain": ("Rain",),
    "rooster": ("Chicken_and_rooster", "Crowing_and_cock-a-doodle-doo"),
    "sea_waves": ("Waves_and_surf", "Ocean"),
    "sneezing": ("Sneeze",),
}
"""AudioSet's labels that name the sound of a class of ESC-10."""

PACKAGES = ("earmark", "numpy", "scipy", "onnxruntime", "soundfile", "soxr")


def class_scores(tagger: Tagger, manifest: Manifest, classes: list[str]) -> np.ndarray:
    """(n_clips, n_classes): of each clip and class, the best of the class's labels."""
    places = [[tagger.labels.index(label) for label in LABELS_OF[name]] for name in classes]
    rows = []
    for clip in manifest.clips:
        waveform = decode(clip.path)
        scores = tagger.scores(waveform.samples, waveform.sample_rate)
        rows.append([scores[of_class].max() for of_class in places])
    return np.array(rows)


def figures(scores: np.ndarray, manifest: Manifest, classes: list[str]) -> dict[str, Any]:
    """Accuracy overall, by fold and by class; and rows of how often a class is taken for each class."""
    true = np.array([classes.index(clip.labels[0]) for clip in manifest.clips])
    heard = scores.argmax(axis=1)
    right = heard == true
    folds = np.array([clip.fold for clip in manifest.clips])
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (true, heard), 1)
    return {
        "n_clips": len(true),
        "n_right": int(right.sum()),
        "accuracy": float(right.mean()),
        "accuracy_by_fold": [float(right[folds == fold].mean()) for fold in np.unique(folds)],
        "accuracy_by_class": {name: float(right[true == i].mean()) for i, name in enumerate(classes)},
        "taken_for": {
            name: {classes[j]: int(n) for j, n in enumerate(confusion[i]) if n} for i, name in enumerate(classes)
        },
    }


def main() -> None:
    """Parse, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    tagger, manifest = load(arguments.model), read_collection(arguments.collection)
    classes, spec = sorted(LABELS_OF), tagger.bundle.spec
    started = time.monotonic()
    scores = class_scores(tagger, manifest, classes)
    seconds = time.monotonic() - started
    said = {
        "command": f"python bench/zeroshot.py {arguments.model.name} {manifest.root.name}",
        **provenance(*PACKAGES),
        "model": spec.recipe.get("description", spec.recipe.get("name", "")),
        "window_frames": spec.window_frames,
        "hop_frames": spec.hop_frames,
        "labels_of_a_class": LABELS_OF,
        "seconds": round(seconds, 1),
        **figures(scores, manifest, classes),
    }
    arguments.output.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(f"{said['n_right']} of {said['n_clips']} right: {said['accuracy']:.4f}")


if __name__ == "__main__":
    main()
