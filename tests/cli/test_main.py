"""The command itself: help, versions, wrong calls, and errors that end in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from earmark import __version__, errors
from earmark.cli import main as main_module
from earmark.cli.main import VERBS, cli

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command(run_earmark: Run, flag: str) -> None:
    status, out, err = run_earmark(flag)
    assert (status, err) == (0, "")
    for verb, said in VERBS.items():
        assert verb in out
        assert said in out
    assert "Example" in out


@pytest.mark.parametrize("verb", VERBS)
def test_every_commands_help_has_an_example(verb: str) -> None:
    # in a process of its own: click keeps the help option of a command's first call
    said = subprocess.run([sys.executable, "-m", "earmark", verb, "-h"], capture_output=True, text=True, check=True)
    assert "Example" in said.stdout
    assert f"\n    earmark {verb} " in said.stdout
    assert said.stderr == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str) -> None:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not isinstance(parameter.type, click.Choice):
            assert parameter.help, f"{verb} {parameter.name}"


def test_no_command_gives_help(run_earmark: Run) -> None:
    status, out, err = run_earmark()
    assert status == 2
    assert "Commands:" in out + err


def test_version(run_earmark: Run) -> None:
    assert run_earmark("--version") == (0, f"earmark, version {__version__}\n", "")


@pytest.mark.parametrize(
    ("word", "guess"), [("tga", "; did you mean 'tag'?"), ("predikt", "; did you mean 'predict'?"), ("xyz", "")]
)
def test_a_command_that_is_none(run_earmark: Run, word: str, guess: str) -> None:
    status, out, err = run_earmark(word, "a.wav")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == f"Error: no command '{word}'{guess}; see 'earmark -h'"


def test_an_option_that_is_none(run_earmark: Run) -> None:
    status, _, err = run_earmark("tag", "--treshold", "0.5", "a.wav")
    assert status == 2
    assert "No such option '--treshold'" in err or "No such option: --treshold" in err
    assert "--threshold" in err


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.AudioError, 1),
        (errors.CollectionError, 1),
        (errors.LabelError, 1),
        (errors.PredictionsError, 1),
        (errors.BundleError, 2),
        (errors.RecipeError, 2),
        (errors.RunError, 2),
        (errors.EarmarkError, 2),
    ],
)
def test_errors_of_the_input_give_1_and_of_the_call_2(
    run_earmark: Run, monkeypatch: pytest.MonkeyPatch, kind: type[errors.EarmarkError], status: int
) -> None:
    def fail() -> None:
        raise kind("dog.wav: not as it should be; mend it")

    monkeypatch.setattr(main_module, "cli", fail)
    assert run_earmark() == (status, "", "earmark: dog.wav: not as it should be; mend it\n")


def test_a_missing_extra_gives_2(run_earmark: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise errors.MissingExtraError("training", "train")

    monkeypatch.setattr(main_module, "cli", fail)
    status, _, err = run_earmark()
    assert status == 2
    assert err == "earmark: training needs libraries that are not installed: pip install 'earmark[train]'\n"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "earmark: output: No space left on device\n"),
        (PermissionError(13, "Permission denied", "/a/b.csv"), "earmark: /a/b.csv: Permission denied\n"),
    ],
)
def test_errors_of_the_system_end_in_one_line_too(
    run_earmark: Run, monkeypatch: pytest.MonkeyPatch, error: OSError, text: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main_module, "cli", fail)
    assert run_earmark() == (2, "", text)


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main_module, "cli", fail)
    with pytest.raises(ZeroDivisionError):
        main_module.main()


def test_as_a_module() -> None:
    said = subprocess.run([sys.executable, "-m", "earmark", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout == f"earmark, version {__version__}\n"
