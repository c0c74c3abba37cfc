"""What the OpenAPI description says holds for requests that are made up of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402


@pytest.fixture(scope="module")
def described(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description that a server gives of itself."""
    log = tmp_path_factory.mktemp("log") / "log"
    command = [
        sys.executable,
        "-m",
        "earmark",
        "serve",
        "--model",
        str(tiny_bundle),
        "--port",
        "0",
        "--max-body",
        "0.1",
    ]
    with log.open("w") as written:
        process = subprocess.Popen(command, stderr=written, env=os.environ | {"EARMARK_TOKEN": "secret"})
    try:
        while not (found := re.search(r"earmark: (http://\S+)/ ", log.read_text())):
            assert process.poll() is None, log.read_text()
        yield schemathesis.openapi.from_url(f"{found[1]}/openapi.json")
        assert '"traceback"' not in log.read_text()
    finally:
        process.kill()
        process.wait()


AUTHORIZED = {"Authorization": "Bearer secret"}
OPERATIONS = (
    *("GET /healthz", "GET /metrics", "GET /readyz", "GET /v1/models"),
    *("POST /v1/tag", "POST /v1/tag/batch"),
)


def test_all_operations_are_known(described: Any) -> None:
    assert sorted(each.ok().label for each in described.get_all_operations()) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_as_described(described: Any, label: str) -> None:
    method, path = label.split()

    @given(case=described[path][method].as_strategy())
    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(case: Any) -> None:
        # bytes that are made up are no recordings: the description cannot say which would be
        case.call_and_validate(headers=AUTHORIZED, excluded_checks=[positive_data_acceptance])

    check()
