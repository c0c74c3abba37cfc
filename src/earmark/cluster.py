"""A Ray cluster to work on: one on this machine for the length of a call, or one that exists."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from earmark.errors import EarmarkError, MissingExtraError

LOCAL = "ray"
"""Where to work: on the cluster that `RAY_ADDRESS` names, or on one that is started on this machine."""

OBJECT_STORE_BYTES = 200 << 20
"""Shared memory of a cluster that is started here; what goes through it is small."""

_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning at each start
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
"""Keeps Ray's talk off the user's terminal, unless the user says otherwise."""

ADDRESS = re.compile(r"ray://[^/\s:]+:\d+")


def check_place(place: str) -> str:
    """Give a place to work at as it is; `EarmarkError` where it is none."""
    if place != LOCAL and not ADDRESS.fullmatch(place):
        raise EarmarkError(f"'{place}' is no place to work at; expected '{LOCAL}', or 'ray://HOST:10001' of a cluster")
    return place


@contextmanager
def cluster(place: str, *, n_cores: int | None = None) -> Iterator[Any]:
    """Connect to a Ray cluster, and leave it in the end; nothing is reported to anyone, and no dashboard is started.

    Parameters
    ----------
    place
        ``ray``, or the address of an existing cluster: ``ray://HOST:10001``.
    n_cores
        Of a cluster that is started here; None for all.

    Yields
    ------
    module
        `ray`, connected.

    Raises
    ------
    MissingExtraError
        When Ray is not installed.
    EarmarkError
        When no cluster answers at the address, or it runs other versions of Python or Ray.
    """
    check_place(place)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"--on {place} ({error.name})", "ray") from error
    if ray.is_initialized():
        yield ray
        return
    address = place if place != LOCAL else os.environ.get("RAY_ADDRESS", "local")
    started: dict[str, Any] = {
        "num_cpus": n_cores,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, **(started if address == "local" else {})
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EarmarkError(
            f"{address}: no Ray cluster to work on ({str(error).strip().splitlines()[0]}); start one with 'ray start "
            "--head', with the same versions of Python and Ray, set RAY_AUTH_MODE=token where it asks for a token, or "
            "leave the address out for one on this machine"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
