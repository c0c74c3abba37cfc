"""A command whose verbs live in modules of their own, imported only when they run."""

from __future__ import annotations

import importlib
import keyword
from collections.abc import Mapping
from typing import Any

import click

from earmark.errors import did_you_mean


class LazyGroup(click.Group):
    """A group of commands, each in the module of its name.

    Parameters
    ----------
    verbs
        Each command with its one line of help, in the order of the help.
    package
        Where the modules lie; each holds a command of its own name (`import_` for a word that Python keeps).
    """

    def __init__(self, *args: Any, verbs: Mapping[str, str], package: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs, self.package = dict(verbs), package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the verbs."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or give `None` when there is none of this name."""
        if cmd_name not in self.verbs:
            return None
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(importlib.import_module(f"{self.package}.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.verbs.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and guess what was meant when there is none."""
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            guess = did_you_mean(args[0], self.verbs)
            raise click.UsageError(f"no command '{args[0]}'{guess}; see '{ctx.command_path} -h'", ctx)
        return super().resolve_command(ctx, args)
