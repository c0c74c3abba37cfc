"""Ten thousand hostile bodies for `earmark serve`: mutated WAV, FLAC, Ogg and MP3 files, lies in headers, slow senders.

    python bench/hostile.py [--n 10000] [--seed 0]

Fails when the server answers anything with 500, ends, or grows. Writes bench/results/hostile.json.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import soundfile
from families import descendants
from provenance import provenance

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "serving"))
from hostile import mutated  # noqa: E402

FORMATS = ("WAV", "FLAC", "OGG", "MP3")
N_CLIENTS = 4
N_SLOW = 8
BYTE_EVERY_S = 0.5
N_MEASURED = 20
MOST_GROWTH = 1.25
"""Of the server's memory in the second half, over that at the end of the first quarter."""


def started(log: Path) -> tuple[subprocess.Popen[bytes], str, int]:
    """Run a server; gives its process, its address and its port."""
    command = [sys.executable, "-m", "earmark", "serve", "--port", "0", "--max-duration", "60", "--timeout", "20"]
    process = subprocess.Popen(command, stderr=log.open("w"))
    while not (found := re.search(r"earmark: (http://([^:]+):(\d+)/)", log.read_text())):
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.1)
    return process, found[1], int(found[3])


def memory_mb(pid: int) -> float:
    """Memory that a process holds with those that it has started, in MB; what they share counts for each."""
    status = [Path(f"/proc/{one}/status").read_text() for one in (pid, *descendants(pid))]
    return sum(int(kilobytes) for text in status for kilobytes in re.findall(r"VmRSS:\s+(\d+)", text)) / 1024


def recordings() -> dict[str, bytes]:
    """Two seconds of a tone with noise, in each format."""
    rng, made = np.random.default_rng(0), {}
    time_s = np.arange(2 * 44_100) / 44_100
    samples = 0.3 * np.sin(2 * np.pi * 440 * time_s) + 0.05 * rng.standard_normal(len(time_s))
    for format_ in FORMATS:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 44_100, format=format_)
        made[format_] = buffer.getvalue()
    return made


def send_slowly(port: int, stop: threading.Event, ends: Counter[str]) -> None:
    """A byte now and then, without end; again when the server has had enough. Counts how it says so."""
    while not stop.is_set():
        said = b""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=BYTE_EVERY_S) as sender:
                sender.sendall(b"POST /v1/tag HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n")
                while not stop.is_set() and not said:
                    sender.sendall(b"\0")
                    try:
                        said = sender.recv(100) or b"closed"
                    except TimeoutError:
                        continue
        except OSError:
            said = said or b"closed"
        if said:
            ends[said.decode("ascii").split(" ")[1] if said.startswith(b"HTTP") else "closed"] += 1


def run(n: int, seed: int, folder: Path) -> dict[str, object]:
    """Send `n` bodies; gives what came of it."""
    log = folder / "log"
    process, address, port = started(log)
    originals, statuses, memory = recordings(), Counter(), []
    begun = time.monotonic()
    stop, slow_ends = threading.Event(), Counter()
    slow = [threading.Thread(target=send_slowly, args=(port, stop, slow_ends)) for _ in range(N_SLOW)]
    for thread in slow:
        thread.start()

    def send(i: int) -> int:
        rng = random.Random(seed * 1_000_003 + i)
        content = mutated(originals[FORMATS[i % len(FORMATS)]], rng)
        how = {"files": {"file": ("x", content)}} if i % 3 == 0 else {"content": content}
        return client.post("/v1/tag?timeline=true", **how).status_code

    with httpx.Client(base_url=address, timeout=60) as client, ThreadPoolExecutor(N_CLIENTS) as pool:
        step = max(1, n // N_MEASURED)
        for first in range(0, n, step):
            statuses.update(pool.map(send, range(first, min(n, first + step))))
            memory.append(round(memory_mb(process.pid), 1))
            print(f"{min(n, first + step)} of {n}: {dict(statuses)}, {memory[-1]} MB", file=sys.stderr)
        stop.set()
        for thread in slow:
            thread.join()
        is_well = client.get("/healthz").status_code == 200
    process.terminate()
    status = process.wait(60)
    growth = max(memory[len(memory) // 2 :]) / memory[len(memory) // 4]
    failures = [line for line in log.read_text().splitlines() if '"traceback"' in line]
    return {
        "n": n,
        "seconds": round(time.monotonic() - begun, 1),
        "statuses": {str(key): statuses[key] for key in sorted(statuses)},
        "n_slow_senders": N_SLOW,
        "slow_senders_ended": dict(slow_ends),
        "memory_mb": memory,
        "growth": round(growth, 3),
        "exit_status": status,
        "n_tracebacks": len(failures),
        "passed": is_well
        and not failures
        and status == 0
        and max(statuses) < 600
        and 500 not in statuses
        and growth <= MOST_GROWTH,
    }


def main() -> None:
    """Measure, write, and say whether it passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "bench" / "results" / "hostile.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(asked.n, asked.seed, Path(folder))
    said = {"provenance": provenance("earmark", "fastapi", "soundfile", "uvicorn"), **found}
    asked.output.write_text(json.dumps(said, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    sys.exit(not found["passed"])


if __name__ == "__main__":
    main()
