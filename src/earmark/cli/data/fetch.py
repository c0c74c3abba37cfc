"""`earmark data fetch`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from tabulate import tabulate

from earmark.data.catalog import Entry, catalog, find_entry
from earmark.data.fetch import fetch as fetch_entry
from earmark.data.fetch import license_note, read_mirror
from earmark.data.sizes import in_words


@click.command()
@click.argument("name", required=False)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A folder.  [default: ./NAME]")
@click.option("--mirror", metavar="DIR_OR_URL", help="Take the files from a copy; they are verified all the same.")
@click.option("--keep-archives", is_flag=True, help="Keep what was downloaded, in OUTPUT.archives.")
@click.option("--dry-run", is_flag=True, help="Show files, sizes, checksums and licence, and download nothing.")
@click.option("--list", "show_list", is_flag=True, help="List what can be fetched.")
def fetch(
    name: str | None, output: Path | None, mirror: str | None, keep_archives: bool, dry_run: bool, show_list: bool
) -> None:
    """Download a public collection or pretrained weights by NAME, verified; without NAME, list what there is.

    A call that was interrupted goes on where it was when it is repeated. The licence is shown first, and written beside
    what is fetched. Needs the extra `data`.

    \b
    Examples:
      earmark data fetch ESC-50 -o esc50
      earmark data fetch FSDKaggle2019 --dry-run
      earmark data fetch mn10_as --mirror /media/copies
    """
    if name is None or show_list:
        click.echo(as_list())
        return
    entry = find_entry(name)
    if dry_run:
        click.echo(as_plan(entry, output or Path(entry.name), mirror))
        return
    click.echo(f"{license_note(entry)}", err=True)
    place = fetch_entry(
        entry, output, mirror=mirror, keep_archives=keep_archives, say=_say, progress=sys.stderr.isatty()
    )
    click.echo(_short(place))


def _say(text: str) -> None:
    click.echo(f"earmark: {text}", err=True)


def _short(path: Path) -> str:
    """A path as seen from the working directory, where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def as_list() -> str:
    """What can be fetched, as a table."""
    rows = [[entry.name, _size(entry.size), entry.license, entry.about] for entry in catalog().values()]
    return tabulate(rows, ["name", "download", "licence", "what it is"])


def as_plan(entry: Entry, folder: Path, mirror: str | None) -> str:
    """What a call would download, from where, how it is verified, and to where."""
    source = read_mirror(mirror) if mirror else None
    rows = [
        [file.name, _size(file.size), file.checksum, source.url(file.name) if source else file.url]
        for file in entry.files
    ]
    sources = sorted({file.checksum_source for file in entry.files})
    return "\n".join(
        [
            license_note(entry),
            tabulate(rows, ["file", "size", "checksum", "from"]),
            "",
            *(f"checksum: {said}" for said in sources),
            f"download: {_size(entry.size)}",
            *([f"unpacked: about {_size(entry.unpacked_size)}, {entry.unpacked_source}"] if entry.archives else []),
            f"target:   {folder}, in the end {entry.layout}",
        ]
    )


def _size(n_bytes: int | None) -> str:
    return "not known" if n_bytes is None else in_words(n_bytes)
