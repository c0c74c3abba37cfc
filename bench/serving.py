"""How fast a server answers: requests a second, and how long the half and the slowest hundredth wait.

    python bench/serving.py ../shared/data/esc10/audio
    python bench/serving.py ../shared/data/esc10/audio --gradio gradio-venv/bin/python

Clips of five seconds from 1, 8 and 64 clients, each with one connection, for `earmark serve`; for the same model behind
a plain handler, one request one inference, under the same uvicorn; and behind Gradio. Gradio is left out, with a word,
where --gradio names no Python that has it. It has one of its own, as it wants other versions than earmark does:

    python -m venv gradio-venv && gradio-venv/bin/pip install gradio .

Beside them, what the engine does with the same files in one process on all cores, as `earmark tag` does: measured next
to each server, so that its share is of the same minute. Clients are threads of one process that send bytes which are
ready; they run on the same cores, and what they take of these, which the server has not, is measured too. Writes
bench/results/serving.json and .md; takes some four minutes.
"""

from __future__ import annotations

import argparse
import http.client
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
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from families import descendants
from provenance import provenance
from tabulate import tabulate

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
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

    def __init__(self, kind: str, gradio: str = sys.executable) -> None:
        self.port = free_port()
        programs = {"plain handler": [sys.executable, "-c", PLAIN], "Gradio": [gradio, "-c", GRADIO]}
        own = [sys.executable, "-m", "earmark", "serve", "--max-pending", "256", "--port"]
        self.command = [*programs.get(kind, own), str(self.port)]
        self.kind = kind

    def __enter__(self) -> Server:
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "GRADIO_ANALYTICS_ENABLED": "False"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(self.command, env=environment, **quiet)
        for _ in range(1800):
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self.process.poll() is not None:
                raise SystemExit(f"{self.kind} does not start: {' '.join(self.command[:3])[:200]}")
            time.sleep(0.1)
        raise SystemExit(f"{self.kind} does not answer within three minutes")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def cpu_s(self) -> float:
        """Seconds of all cores that it has taken, with the processes that it has started."""
        pids = (self.process.pid, *descendants(self.process.pid))
        words = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
        return sum(int(own[11]) + int(own[12]) for own in words) / os.sysconf("SC_CLK_TCK")


def ask(port: int, kind: str, clips: list[bytes], n_clients: int, seconds: float) -> tuple[list[float], float, float]:
    """Ask without a pause; gives the seconds of each answer, of all, and of a core that the asking took."""
    one = _gradio if kind == "Gradio" else _tag
    bodies = [_form(clip) for clip in clips] if kind == "Gradio" else clips
    taken: list[float] = []
    failed: list[Exception] = []
    end = time.perf_counter() + seconds

    def work(first: int) -> None:
        connection, i = http.client.HTTPConnection("127.0.0.1", port, timeout=120), first
        try:
            while time.perf_counter() < end:
                started = time.perf_counter()
                one(connection, bodies[i % len(bodies)])
                taken.append(time.perf_counter() - started)
                i += n_clients
        except Exception as error:
            failed.append(error)

    cpu_s, started = time.process_time(), time.perf_counter()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return taken, time.perf_counter() - started, time.process_time() - cpu_s


def _said(connection: http.client.HTTPConnection, method: str, path: str, *rest: object) -> bytes:
    connection.request(method, path, *rest)
    response = connection.getresponse()
    said = response.read()
    if response.status != 200:
        raise RuntimeError(f"{path} answers {response.status}: {said[:200]!r}")
    return said


def _tag(connection: http.client.HTTPConnection, clip: bytes) -> None:
    _said(connection, "POST", "/v1/tag", clip)


def _form(clip: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    return head + clip + b"\r\n--x--\r\n"


def _gradio(connection: http.client.HTTPConnection, form: bytes) -> None:
    """Upload, call, and wait for the event that ends it: Gradio's own way."""
    form_type = {"Content-Type": "multipart/form-data; boundary=x"}
    (path,) = json.loads(_said(connection, "POST", "/gradio_api/upload", form, form_type))
    data = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]})
    json_type = {"Content-Type": "application/json"}
    event = json.loads(_said(connection, "POST", "/gradio_api/call/tag", data, json_type))["event_id"]
    said = _said(connection, "GET", f"/gradio_api/call/tag/{event}").decode()
    if not re.search(r"^event: complete", said, flags=re.MULTILINE):
        raise RuntimeError(f"Gradio answers {said[:200]}")


def measure(kind: str, clips: list[bytes], seconds: float, gradio: str) -> dict[int, dict[str, float]]:
    """One server with each number of clients, for a time each."""
    found = {}
    with Server(kind, gradio) as server, multiprocessing.get_context("spawn").Pool(1) as asking:
        for n_clients in N_CLIENTS:
            asking.apply(ask, (server.port, kind, clips, n_clients, 1.0))
            before = server.cpu_s()
            taken, elapsed, client_cpu_s = asking.apply(ask, (server.port, kind, clips, n_clients, seconds))
            found[n_clients] = {
                "per_s": len(taken) / elapsed,
                "p50_ms": 1000 * float(np.percentile(taken, 50)),
                "p99_ms": 1000 * float(np.percentile(taken, 99)),
                "server_cpu_ms": 1000 * (server.cpu_s() - before) / len(taken),
                "client_cpu_ms": 1000 * client_cpu_s / len(taken),
            }
    return found


def has_gradio(python: str) -> bool:
    """Whether an interpreter can import Gradio."""
    try:
        return subprocess.run([python, "-c", "import gradio"], capture_output=True).returncode == 0
    except OSError as error:
        raise SystemExit(
            f"--gradio {python}: {error.strerror}; expected a Python, such as gradio-venv/bin/python"
        ) from None


def rounds_of(kinds: list[str], clips: list[bytes], asked: argparse.Namespace) -> list[dict[str, object]]:
    """Each server with each number of clients, in turn, several times; the engine next to each."""
    found = []
    for i in range(asked.rounds):
        for kind in kinds:
            engine_per_s = in_process(clips, asked.seconds)
            for n_clients, one in measure(kind, clips, asked.seconds, asked.gradio).items():
                one["of_engine"] = one["per_s"] / engine_per_s
                found.append({"server": kind, "n_clients": n_clients, "round": i, "engine_per_s": engine_per_s, **one})
                print(f"{kind}, {n_clients} clients: {one['per_s']:.1f}/s", file=sys.stderr)
    return found


COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "per_s": ("requests/s", "{:.1f}".format),
    "of_engine": ("of the engine", "{:.2f}".format),
    "p50_ms": ("p50 (ms)", "{:.1f}".format),
    "p99_ms": ("p99 (ms)", "{:.1f}".format),
    "server_cpu_ms": ("server's CPU (ms/request)", "{:.2f}".format),
    "client_cpu_ms": ("clients' CPU (ms/request)", "{:.2f}".format),
}


def table(found: list[dict[str, object]], kinds: list[str]) -> str:
    """Medians over the rounds."""
    rows = []
    for n_clients in N_CLIENTS:
        for kind in kinds:
            own = [one for one in found if (one["server"], one["n_clients"]) == (kind, n_clients)]
            medians = [write(statistics.median([one[key] for one in own])) for key, (_, write) in COLUMNS.items()]
            rows.append([n_clients, kind, *medians])
    headers = ["clients", "server", *(header for header, _ in COLUMNS.values())]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=["right", "left", *["right"] * 6])


def main() -> None:
    """Measure all, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=N_ROUNDS)
    parser.add_argument("--gradio", default=sys.executable, metavar="PYTHON", help="one that has Gradio")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "serving")
    asked = parser.parse_args()
    kinds = ["earmark serve", "plain handler"]
    if has_gradio(asked.gradio):
        kinds.append("Gradio")
    else:
        print(
            "Gradio is left out, as it is not installed: python -m venv gradio-venv && gradio-venv/bin/pip install "
            "gradio . ; then --gradio gradio-venv/bin/python",
            file=sys.stderr,
        )
    clips = five_seconds(asked.folder)
    found = rounds_of(kinds, clips, asked)
    said = provenance("earmark", "fastapi", "httptools", "onnxruntime", "uvicorn", "uvloop")
    if "Gradio" in kinds:
        line = "import gradio; print(gradio.__version__)"
        said["versions"]["gradio"] = subprocess.check_output([asked.gradio, "-c", line], text=True).strip()
    engine = statistics.median([float(str(one["engine_per_s"])) for one in found])
    text = (
        f"{said['machine']}, {said['date']}; {len(clips)} clips of {CLIP_S:g} s; the engine in one process: "
        f"{engine:.1f} clips/s. Medians of {asked.rounds} rounds.\n\n{table(found, kinds)}\n"
    )
    asked.output.with_suffix(".md").write_text(text)
    content = {"provenance": said, "n_clips": len(clips), "clip_s": CLIP_S, "engine_per_s": engine, "rounds": found}
    asked.output.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
