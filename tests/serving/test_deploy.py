"""What is deployed: the image's recipe has no fault that its linter knows; the options that are given are known."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.cli.serve import serve

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_dockerfile_has_no_fault() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed")
    found = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("name", ["Dockerfile", "earmark.service"])
def test_options_that_are_given_are_known(name: str) -> None:
    text = (DEPLOY / name).read_text()
    commands = re.findall(r"(?:ExecStart=|ENTRYPOINT ).*serve.*", text)
    assert commands
    known = {option for parameter in serve.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", " ".join(commands))) <= known
