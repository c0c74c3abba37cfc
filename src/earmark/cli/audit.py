"""`earmark audit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from earmark.atomic import write_text_atomically
from earmark.audio.picture import PictureSpec
from earmark.data.check.twins import Twins
from earmark.data.selection import read_corrections
from earmark.evaluation.audit.findings import Audit, RunScores, located, read_run
from earmark.evaluation.audit.findings import audit as audit_run
from earmark.evaluation.audit.report import to_csv, to_json, to_table

N_LISTED, N_SERVED = 20, 1000
"""Clips in the table and on a static page, and on a served one, where cleanlab suspects fewer."""

LOOPBACK = "127.0.0.1"

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=_PATH)
@click.option(
    "--data", type=_PATH, help="The collection, where it lies now.  [default: where it was when it was packed]"
)
@click.option("--top", type=click.IntRange(1), help="So many clips.  [default: those suspected; csv, json: all]")
@click.option("--quick", is_flag=True, help="Decode nothing: no page, and the same sound twice is not looked for.")
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(["table", "csv", "json"]))
@click.option("--output", "-o", type=_PATH, metavar="FILE", help="Write the list to this file, not to the terminal.")
@click.option("--page", type=_PATH, metavar="DIR", help="Write the page into this folder.  [default: RUN/audit]")
@click.option("--serve", "is_served", is_flag=True, help="Serve the page from here, and save each decision at once.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Of the page; 0: any.")
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    help="Who may ask: 0.0.0.0 lets a phone, and everybody nearby, decide.",
)
@click.option(
    "--corrections",
    type=_PATH,
    metavar="FILE",
    help="Where decisions stand, and are saved when serving.  [default: RUN/corrections.csv]",
)
@click.option("--workers", type=click.IntRange(1), help="Clips decoded at a time.  [default: one a core]")
def audit(
    run: Path,
    data: Path | None,
    top: int | None,
    quick: bool,
    format_: str,
    output: Path | None,
    page: Path | None,
    is_served: bool,
    port: int,
    host: str,
    corrections: Path | None,
    workers: int | None,
) -> None:
    """List the clips of RUN whose labels are probably wrong or missing, the most suspicious first, and hear them.

    Judged by the run's out-of-fold scores: of each clip, by a network that never heard it. Writes a page to listen to
    and decide with, or serves it (--serve). What was decided is a table that 'earmark train --corrections' takes.

    \b
    Examples:
      earmark audit run/
      earmark audit run/ --format csv --quick -o suspects.csv
      earmark audit run/ --serve
      earmark train ESC-50/ --corrections run/corrections.csv -o better
    """
    if quick and (is_served or page):
        raise click.UsageError("--quick decodes nothing, and the page is for listening; leave one of them out")
    scores = read_run(run) if quick else located(read_run(run), data)
    found = audit_run(scores, None if quick else _twins(scores, workers))
    corrections = corrections or run / "corrections.csv"
    if is_served:
        _serve(found.first(top or max(N_SERVED, found.n_suspected)), scores, corrections, host, port)
        return
    _write(_text(found, format_, top), output)
    if not quick:
        listed = found.first(top or max(N_LISTED, found.n_suspected))
        _write_page(page or run / "audit", listed, scores, corrections)


def _twins(scores: RunScores, workers: int | None) -> list[Twins]:
    from earmark.data.check.collection import check_contents

    _, twins = check_contents(scores.clips, workers)
    return twins


def _text(found: Audit, format_: str, top: int | None) -> str:
    if format_ == "table":
        return to_table(found, top or max(N_LISTED, found.n_suspected))
    listed = found if top is None else found.first(top)
    return to_csv(listed) if format_ == "csv" else to_json(listed)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text_atomically(output, text)


def _write_page(folder: Path, listed: Audit, scores: RunScores, corrections: Path) -> None:
    from earmark.evaluation.audit.page import write_page

    decided = read_corrections(corrections) if corrections.exists() else ()
    errors = write_page(folder, listed, _front_end(scores), decided)
    _say([f"the page: {folder / 'index.html'}", *map(str, errors)])
    if errors:
        _say([f"{len(errors)} of {len(listed.findings)} clips cannot be heard"])
        sys.exit(1)


def _serve(listed: Audit, scores: RunScores, corrections: Path, host: str, port: int) -> None:
    from earmark.evaluation.audit.decisions import Decisions
    from earmark.serving.audit import create_app, serve
    from earmark.serving.listening import LOOPBACK as OWN_NAMES

    hosts = OWN_NAMES if host in OWN_NAMES else ("*",)
    names = [clip.name for clip in scores.clips]
    with Decisions(corrections, names, listed.vocabulary) as decisions:
        app = create_app(listed, _front_end(scores), decisions, hosts)
        saved = f"decisions are saved in {corrections}; Ctrl-C ends it"
        serve(app, host, port, lambda address: _say([f"the page: {address}", saved]))


def _front_end(scores: RunScores) -> PictureSpec:
    from earmark.training.recipe import load_recipe

    return load_recipe(scores.folder / "recipe.toml").picture


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(f"earmark: {line}", err=True)
