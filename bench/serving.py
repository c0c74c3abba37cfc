"""How fast a server answers: requests a second, and how long the half and the slowest hundredth wait.

    python bench/serving.py ../shared/data/esc10/audio
    python bench/serving.py ../shared/data/esc10/audio --seconds 30

Clips of five seconds from 1, 8 and 64 clients, each with one connection, for `earmark serve`; for the same model behind
a plain handler, one request one inference, under the same uvicorn; and behind Gradio, where that is installed (`pip
install gradio`). Beside them, what the engine does with the same files in one process on all cores, as `earmark tag`
does.
Servers are measured in turn, several rounds; clients run in a process of their own, on the same cores: what they take,
the server has not. Writes bench/results/serving.json and .md.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from provenance import provenance
from tabulate import tabulate

RESULTS = Path(__file__).parent / "results"
CLIP_S = 5.0
N_CLIENTS = (1, 8, 64)
N_CLIPS = 100
N_ROUNDS = 3

PLAIN = """
import sys, tempfile, uvicorn, earmark
from fastapi import FastAPI, Request
tagger, app = earmark.load(), FastAPI()

@app.get("/healthz")
def healthz():
    return {}

def tags(content):
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return [vars(tag) for tag in tagger.tag(file.name)]

@app.post("/v1/tag")
async def tag(request: Request):
    from starlette.concurrency import run_in_threadpool
    return {"tags": await run_in_threadpool(tags, await request.body())}

uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
"""

GRADIO = """
import sys, earmark, gradio
tagger = earmark.load()

def tag(path):
    return {tag.label: tag.score for tag in tagger.tag(path)}

page = gradio.Interface(tag, gradio.Audio(type="filepath"), gradio.Label(), api_name="tag")
page.queue(default_concurrency_limit=8).launch(server_port=int(sys.argv[1]), quiet=True)
"""


def five_seconds(folder: Path) -> list[bytes]:
    """Recordings of a folder as 16-bit WAV of five seconds, shorter ones repeated."""
    from earmark.audio.decode import decode

    paths = sorted(path for path in folder.rglob("*") if path.is_file())[:N_CLIPS]
    clips = []
    for path in paths:
        waveform = decode(path)
        n_samples = round(CLIP_S * waveform.sample_rate)
        buffer = io.BytesIO()
        samples = np.resize(waveform.samples, n_samples).clip(-1, 1)
        soundfile.write(buffer, samples, waveform.sample_rate, format="WAV", subtype="PCM_16")
        clips.append(buffer.getvalue())
    return clips


def in_process(clips: list[bytes], seconds: float) -> float:
    """Clips a second of the engine: files, on a thread a core, each with a network of one thread."""
    import earmark
    from earmark.parallel import workers

    tagger, n_cores = earmark.load(n_threads=1), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, workers(n_cores) as pool:
        paths = []
        for i, clip in enumerate(clips):
            paths.append(Path(folder, f"{i}.wav"))
            paths[-1].write_bytes(clip)
        list(pool.map(tagger.tag, paths[:10]))
        started, n = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            n += len(list(pool.map(tagger.tag, paths)))
        return n / (time.perf_counter() - started)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Server:
    """One of the servers as a process, to be used with `with`."""

    def __init__(self, kind: str) -> None:
        self.port = free_port()
        programs = {"plain handler": [sys.executable, "-c", PLAIN], "Gradio": [sys.executable, "-c", GRADIO]}
        own = [sys.executable, "-m", "earmark", "serve", "--max-pending", "256", "--port"]
        self.command = [*programs.get(kind, own), str(self.port)]
        self.kind, self.address = kind, f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self.process.poll() is not None:
                raise SystemExit(f"{self.kind} does not start: {' '.join(self.command[:3])[:200]}")
            time.sleep(0.1)
        raise SystemExit(f"{self.kind} does not answer within a minute")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def cpu_s(self) -> float:
        """Seconds of all cores that it has taken."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def ask(address: str, kind: str, clips: list[bytes], n_clients: int, seconds: float) -> list[float]:
    """Seconds that each answer took, of clients that ask without a pause."""
    return asyncio.run(_ask(address, kind, clips, n_clients, seconds))


async def _ask(address: str, kind: str, clips: list[bytes], n_clients: int, seconds: float) -> list[float]:
    import httpx

    taken: list[float] = []
    limits = httpx.Limits(max_connections=n_clients, max_keepalive_connections=n_clients)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        one = _gradio if kind == "Gradio" else _tag
        await one(client, clips[0])
        end = time.perf_counter() + seconds

        async def work(first: int) -> None:
            i = first
            while time.perf_counter() < end:
                started = time.perf_counter()
                await one(client, clips[i % len(clips)])
                taken.append(time.perf_counter() - started)
                i += n_clients

        await asyncio.gather(*(work(i) for i in range(n_clients)))
    return taken


async def _tag(client: Any, clip: bytes) -> None:
    response = await client.post("/v1/tag", content=clip)
    response.raise_for_status()


async def _gradio(client: Any, clip: bytes) -> None:
    """Upload, call, and wait for the event that ends it: Gradio's own way."""
    (path,) = (await client.post("/gradio_api/upload", files={"files": ("a.wav", clip)})).raise_for_status().json()
    data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    event = (await client.post("/gradio_api/call/tag", json=data)).raise_for_status().json()["event_id"]
    said = (await client.get(f"/gradio_api/call/tag/{event}")).raise_for_status().text
    if not re.search(r"^event: complete", said, flags=re.MULTILINE):
        raise RuntimeError(f"Gradio answers {said[:200]}")


def measure(kind: str, clips: list[bytes], n_clients: int, seconds: float) -> dict[str, float]:
    """One server with some clients, for a time."""
    with Server(kind) as server, multiprocessing.get_context("spawn").Pool(1) as asking:
        asking.apply(ask, (server.address, kind, clips, n_clients, 2.0))
        before, started = server.cpu_s(), time.perf_counter()
        taken = asking.apply(ask, (server.address, kind, clips, n_clients, seconds))
        elapsed = time.perf_counter() - started
        return {
            "per_s": len(taken) / elapsed,
            "p50_ms": 1000 * float(np.percentile(taken, 50)),
            "p99_ms": 1000 * float(np.percentile(taken, 99)),
            "cores": (server.cpu_s() - before) / elapsed,
        }


def main() -> None:
    """Measure all, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=N_ROUNDS)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "serving")
    asked = parser.parse_args()
    clips = five_seconds(asked.folder)
    said = provenance("earmark", "fastapi", "gradio", "onnxruntime", "uvicorn")
    kinds = ["earmark serve", "plain handler", *(["Gradio"] if "gradio" in said["versions"] else [])]
    found: dict[str, list[dict[str, float]]] = {}
    engine = []
    for _ in range(asked.rounds):
        engine.append(in_process(clips, asked.seconds))
        for n_clients in N_CLIENTS:
            for kind in kinds:
                one = measure(kind, clips, n_clients, asked.seconds)
                found.setdefault(f"{kind}, {n_clients}", []).append(one)
                print(f"{kind}, {n_clients} clients: {one}", file=sys.stderr)
    in_engine = statistics.median(engine)
    rows = []
    for name, rounds in found.items():
        kind, n_clients = name.rsplit(", ", 1)
        median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        share = median["per_s"] / in_engine
        figures = [round(median[key], 1) for key in ("per_s", "p50_ms", "p99_ms")]
        rows.append([kind, int(n_clients), *figures, round(share, 2)])
    headers = ["server", "clients", "requests/s", "p50 (ms)", "p99 (ms)", "of the engine"]
    table = tabulate(sorted(rows, key=lambda row: (row[1], -row[2])), headers, tablefmt="github")
    text = f"{said['machine']}, {said['date']}; the engine in one process: {in_engine:.1f} clips/s.\n\n{table}\n"
    asked.output.with_suffix(".md").write_text(text)
    content = {"provenance": said, "n_clips": len(clips), "clip_s": CLIP_S, "engine_per_s": engine, "servers": found}
    asked.output.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
