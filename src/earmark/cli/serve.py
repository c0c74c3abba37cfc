"""`earmark serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from earmark.errors import ServingError

TOKEN_VARIABLE = "EARMARK_TOKEN"
_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--model", "-m", default=None, help="A bundle (.onnx) or a run's folder.  [default: the embedded model]")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0: wherever one comes from."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free.")
@click.option(
    "--token-file", type=_PATH, help=f"Tokens, one a line, of which requests must bring one; or {TOKEN_VARIABLE}."
)
@click.option("--open-to-all", is_flag=True, help="Listen beyond this machine without a token.")
@click.option(
    "--hostname", "hostnames", multiple=True, help="A name under which a proxy asks, such as tags.example.org."
)
@click.option("--max-body", type=float, metavar="MB", help="Of a request.  [default: 67]")
@click.option("--max-duration", "max_duration_s", type=float, metavar="SECONDS", help="Of a recording.  [default: 600]")
@click.option("--max-channels", type=int, help="Of a recording.  [default: 16]")
@click.option("--max-files", type=int, help="In a batch.  [default: 32]")
@click.option("--max-labels", type=int, help="In an answer.  [default: 100]")
@click.option("--max-decodes", type=int, help="Recordings decoded at a time.  [default: one a core]")
@click.option("--max-pending", type=int, help="Recordings in work or waiting; then 503.  [default: 64]")
@click.option("--max-connections", type=int, help="Open at a time.  [default: 512]")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Of a request.  [default: 60]")
@click.option("--workers", "n_workers", type=int, help="What the network runs in.  [default: one a core]")
@click.option(
    "--one-process",
    is_flag=True,
    help="Hear in threads: less memory, fewer requests a second; a recording that crashes a decoder ends the server.",
)
@click.option("--log-names", is_flag=True, help="Keep names of files in the log.")
def serve(
    model: str | None,
    host: str,
    port: int,
    token_file: Path | None,
    open_to_all: bool,
    hostnames: tuple[str, ...],
    max_body: float | None,
    one_process: bool,
    log_names: bool,
    **limits: Any,
) -> None:
    """Tag over HTTP: an API for programs, and a page to drop sounds on.

    Listens on this machine alone, unless --host says otherwise; then a token is needed. The log goes to standard error,
    a JSON object a request, without names of files. SIGTERM and Ctrl-C finish what is in flight.

    \b
    Examples:
      earmark serve --port 9000
      curl -F file=@dog.wav 'http://127.0.0.1:9000/v1/tag?top_k=5'
      EARMARK_TOKEN=$(openssl rand -hex 16) earmark serve --host 0.0.0.0 --model run/
    """
    from earmark.serving.app import Service, Settings
    from earmark.serving.limits import Limits
    from earmark.serving.listening import LOOPBACK, is_loopback
    from earmark.serving.running import serve as run
    from earmark.tagging.tagger import EMBEDDED, load, model_path

    tokens = _tokens(token_file)
    if not is_loopback(host) and not tokens and not open_to_all:
        raise ServingError(
            f"--host {host} lets others ask, and there is no token; set {TOKEN_VARIABLE} or --token-file, or say "
            "--open-to-all if everybody may"
        )
    given = {name: value for name, value in limits.items() if value is not None}
    if max_body is not None:
        given["max_body_bytes"] = round(max_body * 1e6)
    hosts = (*LOOPBACK, *hostnames) if is_loopback(host) or hostnames else ("*",)
    name = EMBEDDED if model is None else model_path(model).parent.name if Path(model).is_dir() else Path(model).stem
    tagger = load(model, n_threads=1)
    # a GPU takes the calls of one process best
    is_one = one_process or any(network.bundle.on_gpu for network in tagger.networks)
    settings = Settings(Limits(**given), tokens, hosts, name, log_names, None if is_one else model or EMBEDDED)
    service = Service(tagger, settings)
    run(service, host, port, lambda address: click.echo(f"earmark: {address} (Ctrl-C ends it)", err=True))


def _tokens(path: Path | None) -> tuple[str, ...]:
    """Tokens of a file and of the environment; `ServingError` for what cannot be one."""
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    if path and not any(line.strip() for line in lines):
        raise ServingError(f"{path}: holds no token; expected one a line")
    tokens = [line.strip() for line in [*lines, os.environ.get(TOKEN_VARIABLE, "")] if line.strip()]
    for token in tokens:
        if not token.isascii() or " " in token:
            raise ServingError(
                "a token holds a space or a letter beyond ASCII, which no header can carry; make another"
            )
    return tuple(tokens)
