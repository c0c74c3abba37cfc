"""What the length of a window does to a zero-shot AudioSet network on ESC-10's clips of five seconds.

    python bench/zeroshot_windows.py mn04_as_mAP_432.pt ../shared/data/esc10 \
        -o bench/results/esc10/zeroshot-windows-mn04.json

A bundle's pictures have one length, so `earmark import` has to choose it. Windows step by half their length; a clip's
scores are the mean over its windows. Classes and labels are those of `bench/zeroshot.py`. It tells how many clips are
heard right, and the mean score of each clip's own class, which silence in a window lowers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from provenance import provenance
from zeroshot import LABELS_OF, PACKAGES, figures

from earmark.audio.decode import decode, resample
from earmark.audio.picture import clip_log_mel, windows
from earmark.data.audioset import audioset_vocabulary
from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.training.efficientat import FRONT_END, load_checkpoint
from earmark.training.models import MobileNet

WRAPPED = msgspec.structs.replace(FRONT_END, short="wrap")
CHOICES = {
    "1 s": (FRONT_END, 100),
    "2.5 s": (FRONT_END, 250),
    "5 s": (FRONT_END, 500),
    "10 s, filled with silence": (FRONT_END, 1000),
    "10 s, the clip twice": (WRAPPED, 1000),
}


@torch.inference_mode()
def scores_of(network: MobileNet, manifest: Manifest, classes: list[str]) -> dict[str, np.ndarray]:
    """(n_clips, n_classes) scores by each choice of window."""
    vocabulary = audioset_vocabulary()
    places = [[vocabulary.index(label) for label in LABELS_OF[name]] for name in classes]
    rows: dict[str, list[list[float]]] = {name: [] for name in CHOICES}
    for clip in manifest.clips:
        waveform = decode(clip.path)
        spectrogram = clip_log_mel(
            resample(waveform.samples, waveform.sample_rate, FRONT_END.log_mel.sample_rate), FRONT_END
        )
        for name, (front_end, n_frames) in CHOICES.items():
            pictures = torch.from_numpy(windows(spectrogram, front_end, n_frames, n_frames // 2))
            scores = network(pictures).sigmoid().mean(dim=0).numpy()
            rows[name].append([scores[of_class].max() for of_class in places])
    return {name: np.array(table) for name, table in rows.items()}


def main() -> None:
    """Parse, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    manifest, classes = read_collection(arguments.collection), sorted(LABELS_OF)
    network, _ = load_checkpoint(arguments.checkpoint)
    own = [classes.index(clip.labels[0]) for clip in manifest.clips]
    said: dict[str, Any] = {
        "command": f"python bench/zeroshot_windows.py {arguments.checkpoint.name} {manifest.root.name}",
        **provenance(*PACKAGES, "torch"),
    }
    for name, scores in scores_of(network, manifest, classes).items():
        found = figures(scores, manifest, classes)
        mean = float(scores[np.arange(len(own)), own].mean())
        said[name] = {key: found[key] for key in ("n_right", "accuracy")} | {"mean_score_of_own_class": mean}
        print(f"{name}: {found['n_right']} of {found['n_clips']} right, own class {mean:.3f}")
    arguments.output.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
