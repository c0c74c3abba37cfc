"""Two builds of the wheel from the committed files, compared.

    python bench/supply.py

Needs setuptools as in pyproject.toml, in this environment. Writes bench/results/supply.json; fails when they differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from provenance import provenance

ROOT = Path(__file__).parents[1]


def built(folder: Path) -> Path:
    """The wheel of the last commit, built in an empty folder at the commit's time."""
    archive, source, wheels = folder / "source.tar", folder / "source", folder / "wheels"
    subprocess.run(["git", "archive", "HEAD", "-o", str(archive)], cwd=ROOT, check=True)
    with tarfile.open(archive) as file:
        file.extractall(source, filter="data")
    said = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True)
    environment = os.environ | {"SOURCE_DATE_EPOCH": said.stdout.strip()}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(source)]
    subprocess.run(command, env=environment, check=True)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def main() -> None:
    """Build, compare, write."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        wheels = [built(Path(folder)) for folder in (first, second)]
        digests = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels]
        found = {"wheel": wheels[0].name, "n_bytes": wheels[0].stat().st_size, "sha256": digests}
    said = {"provenance": provenance("pip", "setuptools"), **found, "same": digests[0] == digests[1]}
    (ROOT / "bench" / "results" / "supply.json").write_text(json.dumps(said, indent=1) + "\n")
    print(json.dumps(said, indent=1))
    sys.exit(not said["same"])


if __name__ == "__main__":
    main()
