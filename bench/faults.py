"""Commands that are killed at moments of chance, and other faults: what is lost by each; all of it should be nothing.

    python bench/faults.py [--times 200] [--seed 0] [--only pack tag]

Each life of an output has a seed of its own, from which the moments are drawn at which its command is killed with
SIGKILL; the commands share the kills equally. Writes bench/results/faults.json and faults.md; fails when anything is
lost. A life is repeated with `--only COMMAND --seed S --times 1`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from provenance import provenance
from tabulate import tabulate

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from faults import sessions  # noqa: E402
from faults.killing import Life, Nursery, live, undisturbed  # noqa: E402
from faults.material import run, write_collection  # noqa: E402
from faults.work import Work, packing, tagging, training, write_run  # noqa: E402

N_CLIPS = {"pack": 240, "tag": 60, "train": 24}
OTHERS = {
    "a full disk": "test_disk.py::TestFull",
    "an output that may not be written to": "test_disk.py::TestReadOnly",
    "a file that changes while it is read": "test_changing.py",
    "two commands with one output": "test_together.py",
    "a clock that jumps": "test_clock.py",
}
"""Tests in tests/faults that are run as they are."""

OneLife = Callable[[int], Life]


def of_work(nursery: Nursery, work: Work, folder: Path) -> OneLife:
    """Lives of a command that makes something."""
    expected = undisturbed(nursery, work, folder)
    return lambda seed: live(nursery, work, folder, seed, expected)


def of_audit(nursery: Nursery, collection: Path, folder: Path) -> OneLife:
    """Lives of an audit's table of corrections."""
    run_folder, names = write_run(folder.parent / "run", collection), [path.name for path in collection.glob("*.wav")]
    arguments = ("audit", run_folder, "--serve", "--port", 0, "--corrections", folder / "out" / "corrections.csv")
    return lambda seed: sessions.live(nursery, folder, seed, arguments, sessions.Deciding(names, seed), 4)


def of_serve(nursery: Nursery, collection: Path, folder: Path) -> OneLife:
    """Lives of a server that tags; one recording is so long that the server puts it aside."""
    bodies = [path.read_bytes() for path in sorted(collection.glob("*.wav"))[:8]]
    long = write_collection(folder.parent / "long", 1, duration_s=60.0) / "000.wav"
    arguments = ("serve", "--port", 0)
    first = sessions.Tagging([*bodies, long.read_bytes(), *bodies])
    sessions.live(nursery, folder, 0, arguments, first, 1)
    return lambda seed: sessions.live(
        nursery, folder, seed, arguments, sessions.Tagging(first.bodies, first.answers), 4
    )


def prepared(nursery: Nursery, folder: Path, wanted: list[str]) -> Iterator[tuple[str, OneLife]]:
    """The commands, each with what lives it."""
    collections = {name: write_collection(folder / f"for {name}", n) for name, n in N_CLIPS.items()}
    makers: dict[str, Callable[[], OneLife]] = {
        "pack": lambda: of_work(nursery, packing(collections["pack"]), folder / "pack"),
        "tag": lambda: of_work(nursery, tagging(collections["tag"]), folder / "tag"),
        "audit": lambda: of_audit(nursery, collections["train"], folder / "audit"),
        "serve": lambda: of_serve(nursery, collections["tag"], folder / "serve"),
        "train": lambda: of_work(nursery, training(store()), folder / "train"),
    }

    def store() -> Path:
        run("data", "pack", collections["train"], "-o", folder / "store", "--sample-rate", 8000)
        return folder / "store"

    for name in wanted or list(makers):
        yield name, makers[name]()


def killed(times: int, seed: int, wanted: list[str]) -> dict[str, Any]:
    """Kill each command its share of times; gives its lives."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Nursery() as nursery:
        share = -(-times // len(wanted or range(5)))
        for name, one_life in prepared(nursery, Path(folder), wanted):
            lives: list[Life] = []
            began = time.monotonic()
            while (n := sum(len(life.kills) for life in lives)) < share:
                lives.append(one_life(seed + len(lives)))
                print(f"{name}: {n + len(lives[-1].kills)} of {share} kills, {lives[-1]}", file=sys.stderr, flush=True)
            found[name] = {
                "n_kills": n,
                "n_outputs": len(lives),
                "n_lost": sum(bool(life.lost) for life in lives),
                "minutes": round((time.monotonic() - began) / 60, 1),
                "lives": [asdict(life) for life in lives],
            }
    return found


def others() -> dict[str, Any]:
    """Run the tests of the other faults; gives how many there are, and failed, and were skipped for a reason."""
    found = {}
    for name, tests in OTHERS.items():
        with tempfile.NamedTemporaryFile(suffix=".xml") as report:
            command = [sys.executable, "-m", "pytest", str(ROOT / "tests" / "faults" / tests.split("::")[0])]
            chosen = ["-k", tests.split("::")[1]] if "::" in tests else []
            subprocess.run([*command, *chosen, f"--junitxml={report.name}"], cwd=ROOT, check=False)
            suite = ElementTree.parse(report.name).getroot()[0]
        counts = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        reasons = sorted({skip.get("message", "") for skip in suite.iter("skipped")})
        found[name] = {
            "n_runs": counts["tests"] - counts["skipped"],
            "n_lost": counts["failures"] + counts["errors"],
            "skipped": reasons,
        }
    return found


def table(kills: dict[str, Any], rest: dict[str, Any]) -> str:
    """Fault by runs by losses."""
    rows = [(f"`{name}` killed (SIGKILL)", said["n_kills"], said["n_lost"]) for name, said in kills.items()]
    rows.append(("all kills", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    rows += [(name, said["n_runs"], said["n_lost"]) for name, said in rest.items()]
    return tabulate(rows, ("fault", "runs", "losses"), tablefmt="github")


def main() -> None:
    """Break, write, and say whether anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[], choices=["pack", "tag", "audit", "serve", "train"])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "bench" / "results" / "faults.json")
    asked = parser.parse_args()
    kills = killed(asked.times, asked.seed, asked.only)
    rest = {} if asked.only else others()
    said = {"provenance": provenance("earmark", "torch", "onnxruntime"), "seed": asked.seed, "killed": kills}
    asked.output.write_text(json.dumps({**said, "others": rest}, indent=1) + "\n")
    shown = table(kills, rest)
    asked.output.with_suffix(".md").write_text(f"{shown}\n")
    print(shown)
    sys.exit(any(each["n_lost"] for each in [*kills.values(), *rest.values()]))


if __name__ == "__main__":
    main()
