"""Options of commands that find events, the same for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from earmark.tagging.events import EventSpec
from earmark.tagging.tagger import AUTO, Threshold

_DEFAULT = EventSpec()


def read_threshold(context: click.Context, parameter: click.Parameter, text: str | None) -> Threshold:
    """A score from 0 to 1, or ``auto``; None when the option is not given."""
    if text is None or text == AUTO:
        return AUTO if text else None
    found: float = click.FloatRange(0, 1)(text, parameter, context)
    return found


def _odd(context: click.Context, parameter: click.Parameter, number: int) -> int:
    if number % 2 == 0:
        raise click.BadParameter(f"{number} is even; a median is taken over an odd number of windows, 1 for none")
    return number


_OPTIONS = (
    click.option(
        "--smooth",
        default=_DEFAULT.smooth,
        show_default=True,
        type=click.IntRange(1),
        callback=_odd,
        help="Windows that a median is taken over, an odd number.",
    ),
    click.option(
        "--release",
        default=_DEFAULT.release,
        show_default=True,
        type=click.FloatRange(0, 1, min_open=True),
        help="Share of its threshold down to which an event goes on.",
    ),
    click.option(
        "--max-gap",
        "max_gap_s",
        default=_DEFAULT.max_gap_s,
        show_default=True,
        type=click.FloatRange(0),
        help="Events of a label that are no further apart become one; in seconds.",
    ),
    click.option(
        "--min-duration",
        "min_duration_s",
        default=_DEFAULT.min_duration_s,
        show_default=True,
        type=click.FloatRange(0),
        help="Shorter events are dropped; in seconds.",
    ),
)

NAMES = ("smooth", "release", "max_gap_s", "min_duration_s")
"""Parameters that `event_options` adds."""


def event_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `EventSpec`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given(context: click.Context, *names: str) -> list[str]:
    """Which parameters the user gave, as they are written."""
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    source = click.core.ParameterSource.COMMANDLINE
    return [options[name] for name in names if context.get_parameter_source(name) == source]
