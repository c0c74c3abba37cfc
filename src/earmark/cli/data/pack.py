"""`earmark data pack`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from earmark.cli.collection import CollectionOptions, collection_options
from earmark.data.encoding import DTYPES, Encoding
from earmark.data.manifest import SUBSETS, Manifest
from earmark.data.pack import N_ERRORS_SHOWN, Packed, plan_pack
from earmark.data.pack import pack as pack_into
from earmark.data.sizes import in_words
from earmark.data.spectrograms import largest_error_db, log_mel_encoding
from earmark.data.store import is_store, open_store
from earmark.errors import CollectionError
from earmark.training.recipe import load_recipe

DEFAULT_RECIPE = "fast"
LEARNED_FROM = ("curated", "noisy")


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--output", "-o", "folder", required=True, type=click.Path(path_type=Path), help="The store's folder.")
@click.option("--sample-rate", type=click.IntRange(1000, 384_000), help="In Hz.  [default: that of the recipe]")
@click.option("--recipe", help="Pack at this recipe's rate: a name, or a TOML file.  [default: fast, 32000 Hz]")
@click.option("--log-mel", metavar="RECIPE", help="Pack the spectrograms of this recipe instead of waveforms.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a value of the recipe.")
@click.option(
    "--dtype", type=click.Choice(DTYPES["log-mel"]), help="Of spectrograms; uint8 is half as large.  [default: float16]"
)
@click.option(
    "--subset", "subsets", multiple=True, type=click.Choice(SUBSETS), help="May be repeated.  [default: curated, noisy]"
)
@click.option("--workers", type=click.IntRange(1), help="Recordings at a time.  [default: one more than cores]")
@click.option("--dry-run", is_flag=True, help="Only say how much it would come to.")
@click.option("--skip-bad", is_flag=True, help="Leave out recordings that cannot be read; the exit status is still 1.")
@collection_options
def pack(
    data: Path,
    folder: Path,
    sample_rate: int | None,
    recipe: str | None,
    log_mel: str | None,
    settings: tuple[str, ...],
    dtype: str | None,
    subsets: tuple[str, ...],
    workers: int | None,
    dry_run: bool,
    skip_bad: bool,
    how: CollectionOptions,
) -> None:
    """Decode the clips of DATA once, into a store: one folder that 'earmark train' reads without any decoder.

    The store holds waveforms of 16 bits, each clip at its own scale, at the rate of a recipe; or, with --log-mel, the
    spectrograms of a recipe, which are some ten times smaller and serve recipes of the same front end alone.

    A command that was interrupted goes on where it was when it is given again. One that finds the store up to date
    does nothing; clips whose files have not changed are not decoded again. A recording that cannot be read is named,
    the store is not written, and the exit status is 1.

    \b
    Examples:
      earmark data pack FSDKaggle2019/ -o store
      earmark data pack ESC-50/ -o small --log-mel small-grey --dtype uint8
      earmark data pack FSDKaggle2019/ -o store --subset curated --dry-run
    """
    encoding = _encoding(sample_rate, recipe, log_mel, settings, dtype)
    if is_store(data):
        raise click.UsageError(f"{data}: is a packed store already; give the collection that it was made from")
    manifest = _of_subsets(how.read(data), subsets or LEARNED_FROM, data)
    if dry_run:
        click.echo(plan_pack(manifest, folder, encoding, n_workers=workers).summary())
        return
    packed = pack_into(manifest, folder, encoding, skip_bad=skip_bad, n_workers=workers, say=_say)
    click.echo(_summary(folder, packed))
    if packed.left_out:
        for why in list(packed.left_out.values())[:N_ERRORS_SHOWN]:
            _say(why)
        more = len(packed.left_out) - N_ERRORS_SHOWN
        _say(f"{len(packed.left_out)} recordings are left out{f', {more} of them not named here' if more > 0 else ''}")
        sys.exit(1)


def _encoding(
    sample_rate: int | None, recipe: str | None, log_mel: str | None, settings: tuple[str, ...], dtype: str | None
) -> Encoding:
    said = {"--sample-rate": sample_rate, "--recipe": recipe, "--log-mel": log_mel}
    given = [option for option, value in said.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} both say what is to be packed; give one of them")
    if dtype is not None and log_mel is None:
        raise click.UsageError("--dtype is for spectrograms; give --log-mel RECIPE too, or leave it out")
    if sample_rate is not None:
        if settings:
            raise click.UsageError("--set replaces a value of a recipe; give --recipe or --log-mel, not --sample-rate")
        return Encoding.waveform(sample_rate)
    picture = load_recipe(log_mel or recipe or DEFAULT_RECIPE, list(settings)).picture
    if log_mel is None:
        return Encoding.waveform(picture.log_mel.sample_rate)
    return log_mel_encoding(picture, dtype or DTYPES["log-mel"][0])


def _of_subsets(manifest: Manifest, subsets: tuple[str, ...], data: Path) -> Manifest:
    chosen = manifest.only(clip for clip in manifest.clips if clip.subset in subsets)
    if not len(chosen):
        there = ", ".join(subset for subset in SUBSETS if len(manifest.subset(subset))) or "nothing"
        raise CollectionError(
            f"{data}: has no clips of {' or '.join(subsets)}; there are {there}; choose with --subset"
        )
    return chosen


def _summary(folder: Path, packed: Packed) -> str:
    store = open_store(folder)
    encoding = store.encoding
    what = f"{encoding.kind} {encoding.dtype} at {encoding.sample_rate} Hz"
    if encoding.kind == "log-mel":
        what += f", off by {largest_error_db(encoding, store.scales):.2f} dB at the most"
    reused = f", {packed.n_reused} of them not decoded now" if packed.status == "packed" and packed.n_reused else ""
    return f"{folder}: {packed.status}: {packed.n_clips} clips{reused}, {in_words(packed.n_bytes)}, {what}"


def _say(line: str) -> None:
    click.echo(f"earmark: {line}", err=True)
