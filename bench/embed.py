"""Learn the embedded model from openly licensed clips, and put it into the package.

    python bench/embed.py ../shared/data/open28

Learns the recipe `fast` on all clips and stores the weights as float16 in `src/earmark/models/embedded.onnx`. What to
expect of it, `bench/crossval.py` measures on the same clips; run it first, and the bundle quotes its figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import onnx
from crossval import earmark

from earmark.bundle import Bundle, write_bundle
from earmark.training.export import halve_weights

TARGET = Path(__file__).parents[1] / "src" / "earmark" / "models" / "embedded.onnx"
LARGEST_BYTES = 4_000_000
LICENCE = "MIT. Learned from clips under CC0, CC-BY, CC-BY-SA, MIT and GPL; none of them is in the file."


def main() -> None:
    """Parse, train, convert, check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run is kept")
    arguments = parser.parse_args()
    run = arguments.runs / f"{arguments.collection.name}-{arguments.recipe}"
    resume = ["--resume"] if run.exists() else []
    earmark("train", arguments.collection, "--recipe", arguments.recipe, "-o", run, "--refit-only", *resume)

    learned = run / "refit" / "model.onnx"
    spec = msgspec.structs.replace(Bundle(learned).spec, licence=LICENCE)
    TARGET.parent.mkdir(exist_ok=True)
    write_bundle(halve_weights(onnx.load(learned)), spec, TARGET)
    size = TARGET.stat().st_size
    if size > LARGEST_BYTES:
        raise SystemExit(f"{TARGET}: {size:,} bytes; the package takes at most {LARGEST_BYTES:,}")
    print(f"{TARGET}: {size:,} bytes, {len(spec.labels)} labels")


if __name__ == "__main__":
    main()
