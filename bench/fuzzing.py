"""Strangers' files: recordings, models, tables and recipes that libFuzzer makes of the corpus in tests/fuzz.

    python bench/fuzzing.py [--minutes 10] [--only decode bundle]

Needs the extra `fuzz`. Each target has so many minutes; what ends it is kept in tests/fuzz/corpus, where a test holds
it from then on, and makes the exit status 1. Writes bench/results/fuzzing.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from provenance import provenance

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
TARGETS = ("decode", "bundle", "manifest", "recipe")
SLOWEST_S = 60
MOST_MEMORY_MB = 4096


def fuzzed(target: str, minutes: float) -> dict[str, Any]:
    """Fuzz a target; gives how often it was run, and what ended it."""
    with tempfile.TemporaryDirectory() as folder:
        own, found = Path(folder, "corpus"), Path(folder, "found")
        own.mkdir()
        found.mkdir()
        options = [
            f"-max_total_time={round(60 * minutes)}",
            f"-timeout={SLOWEST_S}",
            f"-rss_limit_mb={MOST_MEMORY_MB}",
            "-print_final_stats=1",
            f"-artifact_prefix={found}/",
        ]
        command = [sys.executable, "-m", "fuzz.fuzz", target, *options, str(own), str(CORPUS / target)]
        paths = [str(ROOT / "src"), str(ROOT / "tests")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        began = time.monotonic()
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, check=False)
        text = done.stderr.decode(errors="replace")
        executed = re.findall(r"stat::number_of_executed_units:\s+(\d+)", text) or re.findall(r"#(\d+)\s", text)
        for path in found.iterdir():
            (CORPUS / target / path.name).write_bytes(path.read_bytes())
        return {
            "minutes": round((time.monotonic() - began) / 60, 1),
            "executions": int(executed[-1]) if executed else 0,
            "inputs_of_new_coverage": len(list(own.iterdir())),
            "status": done.returncode,
            "findings": {path.name: _said(text) for path in found.iterdir()},
        }


def _said(text: str) -> str:
    """The error that ended a target."""
    lines = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*|^SUMMARY: .*", text, re.MULTILINE)
    return lines[0][:300] if lines else text[-300:]


def main() -> None:
    """Fuzz, write, and say whether something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="a target")
    parser.add_argument("--only", nargs="+", default=TARGETS, choices=TARGETS)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "bench" / "results" / "fuzzing.json")
    asked = parser.parse_args()
    targets = {}
    for target in asked.only:
        targets[target] = fuzzed(target, asked.minutes)
        print(f"{target}: {targets[target]}", file=sys.stderr, flush=True)
    total = {
        "hours": round(sum(each["minutes"] for each in targets.values()) / 60, 2),
        "executions": sum(each["executions"] for each in targets.values()),
        "findings": sum(len(each["findings"]) for each in targets.values()),
    }
    said = {"provenance": provenance("earmark", "atheris", "av", "onnxruntime", "soundfile"), **total}
    asked.output.write_text(json.dumps({**said, "targets": targets}, indent=1) + "\n")
    print(json.dumps(total))
    sys.exit(total["findings"] > 0)


if __name__ == "__main__":
    main()
