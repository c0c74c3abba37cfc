"""`earmark data synth`."""

from __future__ import annotations

from pathlib import Path

import click

from earmark.data.synth import write_collection


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--curated", "n_curated", default=360, show_default=True, type=click.IntRange(1), help="Clips to learn.")
@click.option(
    "--noisy", "n_noisy", default=72, show_default=True, type=click.IntRange(0), help="Clips, badly labelled."
)
@click.option("--test", "n_test", default=72, show_default=True, type=click.IntRange(0), help="Clips to be tagged.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another one, other sounds.")
@click.option("--sample-rate", default=44_100, show_default=True, type=click.IntRange(16_000), help="In Hz.")
def synth(folder: Path, n_curated: int, n_noisy: int, n_test: int, seed: int, sample_rate: int) -> None:
    """Synthesise a labelled collection in FSDKaggle2019's layout into FOLDER, which must be new or empty.

    The same numbers and seed give the same sounds.

    \b
    Example:
      earmark data synth sounds --curated 200 --seed 1
    """
    write_collection(folder, n_curated=n_curated, n_noisy=n_noisy, n_test=n_test, seed=seed, sample_rate=sample_rate)
