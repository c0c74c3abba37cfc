"""The command `earmark`."""

from __future__ import annotations

import importlib
import sys

import click

from earmark import __version__
from earmark.errors import AudioError, CollectionError, EarmarkError, LabelError, PredictionsError, did_you_mean

VERBS = {
    "tag": "Name what is heard in recordings.",
    "train": "Learn a tagger from labelled recordings, cross-validated.",
    "predict": "Score every clip of a collection for every label.",
    "evaluate": "Judge a table of scores by known labels.",
    "show": "Draw spectrograms as a network sees them, grey or colour.",
    "demo": "The whole way on synthesised sounds, in minutes.",
}
"""Each command with its one line of help; its code is imported when it is called."""

INPUT_ERRORS = (AudioError, CollectionError, LabelError, PredictionsError)
"""Errors of what was read, exit status 1; all others are of the call itself, exit status 2."""


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, imported only when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of `VERBS`."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or give `None` when there is none of this name."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"earmark.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and guess what was meant when there is none."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"no command '{args[0]}'{did_you_mean(args[0], VERBS)}; see 'earmark -h'", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="earmark")
def cli() -> None:
    """Put names to sounds.

    \b
    Example:
      earmark tag dog.wav
    """


def main() -> None:
    """Run the command line; errors that users can meet end in one message and an exit status, never in a traceback."""
    try:
        cli()
    except EarmarkError as error:
        click.echo(f"earmark: {error}", err=True)
        sys.exit(1 if isinstance(error, INPUT_ERRORS) else 2)
    except OSError as error:  # a full disk, a folder that may not be written to
        click.echo(f"earmark: {error.filename or 'output'}: {error.strerror or error}", err=True)
        sys.exit(2)
