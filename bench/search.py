"""How often `earmark search` finds sounds of the same kind, and how long it takes among a million.

    python bench/search.py ../shared/data/esc10 MODEL…

For each model, embeds the clips of a collection as `earmark tag --embeddings` does and asks for those nearest to each
clip; a clip of the same recording as the query never counts. Precision at k is the share of the k nearest that have the
query's label. Of a run with folds, each fold's own network embeds the clips that it was not learned from, and they are
searched among themselves; of a single bundle, whether it was learned from these clips is its maker's to say. Then a
million random vectors of 512 numbers are searched. Writes `bench/results/search.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance

from earmark.data.layouts import read_collection
from earmark.data.manifest import Clip
from earmark.tagging.embedding import Embedding, n_features
from earmark.tagging.engine import Engine
from earmark.tagging.search import About, EmbeddingIndex, about, embeddings_file
from earmark.tagging.tagger import load

RESULTS = Path(__file__).parent / "results"
DEPTHS = (1, 5)
N_VECTORS, N_FEATURES, N_SEARCHES = 1_000_000, 512, 5


def index_of(model: Path | str, clips: Sequence[Clip], path: Path) -> EmbeddingIndex:
    """Embed clips, as `earmark tag --embeddings` does, under their names."""
    tagger = load(model, n_threads=1, embeds=True)
    said = about(tagger, hop_s=None, timed=False)
    with Engine([tagger]) as engine, embeddings_file(path, said, n_features(tagger)) as write:
        for clip in clips:
            [heard], duration_s = engine.heard(clip.path)
            write(Path(clip.name), Embedding(np.zeros(1), np.array([duration_s]), tagger.embedded(heard)))
    return EmbeddingIndex(path)


def hits(index: EmbeddingIndex, clips: Sequence[Clip]) -> dict[str, list[list[bool]]]:
    """Of each label, for each query, whether the nearest of other recordings have it, nearest first."""
    known = {clip.name: clip for clip in clips}
    found: dict[str, list[list[bool]]] = defaultdict(list)
    for place, clip in enumerate(clips):
        matches = index.nearest(index.vector(place), top_k=len(clips), without=place)
        others = [known[match.path] for match in matches]
        others = [one for one in others if clip.group is None or one.group != clip.group][: max(DEPTHS)]
        found[clip.labels[0]].append([one.labels == clip.labels for one in others])
    return found


def precision(model: str, clips: Sequence[Clip], folder: Path) -> dict[str, Any]:
    """Precision at each depth, over all queries and label by label."""
    run = Path(model)
    folds = sorted(run.glob("fold-*/model.onnx")) if run.is_dir() else []
    found: dict[str, list[list[bool]]] = defaultdict(list)
    parts = [(part, _held_out(run, i, clips)) for i, part in enumerate(folds)] or [(model, list(clips))]
    begun = time.perf_counter()
    for number, (part, own) in enumerate(parts):
        index = index_of(part, own, folder / f"{run.name}-{number}.npz")
        for label, queries in hits(index, own).items():
            found[label] += queries
    everything = [query for queries in found.values() for query in queries]
    return {
        "model": run.parent.name if run.name == "model.onnx" else run.name,
        "searched": f"{len(parts)} folds, each held out" if folds else "all clips together",
        "n_features": index.embeddings.shape[1],
        "n_queries": len(everything),
        "seconds": round(time.perf_counter() - begun, 1),
        **{f"precision_at_{k}": round(float(np.mean([query[:k] for query in everything])), 4) for k in DEPTHS},
        f"precision_at_{max(DEPTHS)}_per_label": {
            label: round(float(np.mean(queries)), 4) for label, queries in sorted(found.items())
        },
    }


def _held_out(run: Path, fold: int, clips: Sequence[Clip]) -> list[Clip]:
    rows = (run / "folds.csv").read_text(encoding="utf-8").splitlines()[1:]
    own = {name for name, number in (row.rsplit(",", 1) for row in rows) if int(number) == fold}
    return [clip for clip in clips if clip.name in own]


def million(folder: Path) -> dict[str, Any]:
    """Seconds to open an index of random vectors and to find the ten nearest, first and again."""
    rng = np.random.default_rng(0)
    path = folder / "million.npz"
    said = About(earmark_embeddings=1, model="random", sha256="0" * 64)
    with embeddings_file(path, said, N_FEATURES) as write:
        for i in range(N_VECTORS):
            vector = rng.standard_normal((1, N_FEATURES), dtype=np.float32)
            vector /= np.linalg.norm(vector)
            write(Path(f"archive/{i:07}.wav"), Embedding(np.zeros(1), np.ones(1), vector))
    begun = time.perf_counter()
    index = EmbeddingIndex(path)
    opened_s = time.perf_counter() - begun
    seconds = []
    for i in range(N_SEARCHES):
        begun = time.perf_counter()
        [first, *_] = index.nearest(index.vector(i), top_k=10)
        seconds.append(round(time.perf_counter() - begun, 3))
        if first.path != f"archive/{i:07}.wav":
            raise SystemExit(f"{first.path} is nearest to vector {i}; expected the vector itself")
    return {
        "n_vectors": N_VECTORS,
        "n_features": N_FEATURES,
        "file_gb": round(path.stat().st_size / 1e9, 2),
        "opened_s": round(opened_s, 4),
        "search_s": seconds,
        "median_search_s": float(np.median(seconds)),
    }


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("models", nargs="+")
    given = parser.parse_args()
    begun = provenance("earmark", "numpy", "onnxruntime", "soxr", "soundfile")
    clips = read_collection(given.collection).clips
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        models = [precision(model, clips, Path(name)) for model in given.models]
        figures = {
            "command": f"python bench/search.py {given.collection.name} "
            + " ".join(model["model"] for model in models),
            **begun,
            "collection": given.collection.name,
            "models": models,
            "million": million(Path(name)),
        }
    content = json.dumps(figures, indent=1)
    print(content)
    (RESULTS / "search.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
