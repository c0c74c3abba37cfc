"""`earmark data stats`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from earmark.cli.collection import CollectionOptions, collection_options
from earmark.data.manifest import SUBSETS
from earmark.data.stats import Share, Statistics, pairs_together, statistics

N_PAIRS_SHOWN, N_ERRORS_SHOWN = 15, 10


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--subset", "subsets", multiple=True, type=click.Choice(SUBSETS), help="Only these.  [default: all]")
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(["table", "json"]))
@click.option("--picture", type=click.Path(path_type=Path), help="Also draw it, into this PNG file.")
@click.option("--workers", type=click.IntRange(1), help="Files at a time.  [default: two a core]")
@collection_options
def stats(
    data: Path,
    subsets: tuple[str, ...],
    format_: str,
    picture: Path | None,
    workers: int | None,
    how: CollectionOptions,
) -> None:
    """Count what the collection DATA holds: clips, minutes and recordings of every label, lengths, sample rates.

    A file that cannot be read is named, counts as a clip of no length, and makes the exit status 1.

    \b
    Examples:
      earmark data stats FSDKaggle2019/
      earmark data stats recordings/ --subset curated --picture stats.png
      earmark data stats ESC-50/ --format json
    """
    manifest = how.read(data)
    if subsets:
        manifest = manifest.only(clip for clip in manifest.clips if clip.subset in subsets)
    if not len(manifest):
        raise click.UsageError(f"{data} has no clips of {' or '.join(subsets)}; leave --subset out for all there are")
    found = statistics(manifest, n_workers=workers)
    if picture:
        from earmark.data.stats_picture import write_picture

        write_picture(found, picture)
    click.echo(json.dumps(as_json(found), indent=1, ensure_ascii=False) if format_ == "json" else as_table(found))
    if found.unreadable:
        for error in found.unreadable[:N_ERRORS_SHOWN]:
            click.echo(f"earmark: {error}", err=True)
        more = len(found.unreadable) - N_ERRORS_SHOWN
        unnamed = f", {more} of them not named here; 'earmark data check --quick' names all" if more > 0 else ""
        click.echo(f"earmark: {len(found.unreadable)} of {len(manifest)} clips could not be read{unnamed}", err=True)
        sys.exit(1)


def as_json(found: Statistics) -> dict[str, Any]:
    """Everything, with names for keys; labels together as pairs."""
    content = asdict(found)
    content["together"] = [{"labels": [a, b], "n_clips": n} for a, b, n in pairs_together(found)]
    keys = ("sample_rate", "n_channels", "format")
    content["rates"] = [{**dict(zip(keys, kind, strict=True)), "n_clips": n} for kind, n in found.rates.items()]
    return content


def as_table(found: Statistics) -> str:
    """The same for people: a table for each question."""
    parts = [
        _section("Subsets", found.subsets.items(), ["subset", *_share_header()]),
        _lengths(found),
        _labels(found),
        _pairs(found),
        tabulate([[*kind, n] for kind, n in found.rates.items()], ["sample rate", "channels", "format", "clips"]),
        tabulate(found.licenses.items(), ["licence", "clips"]) if found.licenses else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _share_header(prefix: str = "") -> list[str]:
    return [f"{prefix}{name}" for name in ("clips", "minutes", "recordings")]


def _share_cells(share: Share) -> list[object]:
    unnamed = share.n_without_source
    sources = f"{share.n_sources} + {unnamed} clips of unknown" if unnamed and share.n_sources else share.n_sources
    return [share.n_clips, share.minutes, sources if share.n_sources else "unknown" if unnamed else 0]


def _section(title: str, shares: Any, header: list[str]) -> str:
    rows = [[name, *_share_cells(share)] for name, share in shares]
    return f"{title}\n{tabulate(rows, header, floatfmt='.1f')}"


def _lengths(found: Statistics) -> str:
    quantiles = next(iter(found.durations_s.values()))
    rows = [[name, *values.values()] for name, values in found.durations_s.items()]
    counts = [
        f"{name}: " + ", ".join(f"{n} clips of {k}" for k, n in enumerate(per_clip) if n)
        for name, per_clip in found.n_labels_per_clip.items()
    ]
    lengths = tabulate(rows, ["lengths in s", *quantiles], floatfmt=".2f")
    return f"{lengths}\n\nLabels of a clip\n" + "\n".join(counts)


def _labels(found: Statistics) -> str:
    labelled = [name for name, counts in found.n_labels_per_clip.items() if sum(counts[1:])]
    header = ["label", *(column for name in labelled for column in _share_header(f"{name}\n"))]
    rows = [
        [label, *(cell for name in labelled for cell in _share_cells(shares[name]))]
        for label, shares in found.labels.items()
    ]
    return tabulate(rows, header, floatfmt=".1f")


def _pairs(found: Statistics) -> str:
    pairs = pairs_together(found)
    if not pairs:
        return "No clip has two labels."
    more = len(pairs) - N_PAIRS_SHOWN
    table = tabulate(pairs[:N_PAIRS_SHOWN], ["label", "with", "clips"])
    return table + (f"\nand {more} more pairs (--format json has them all)" if more > 0 else "")
