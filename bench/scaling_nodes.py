"""Two Ray nodes on one machine, as two hosts where the system allows it, and ways to break them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from families import descendants

ACTOR = b"ray::Tagging"
HEAD, OTHER = "10.177.0.1", "10.177.0.2"
PORT = 26_379
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
    "RAY_raylet_start_wait_time_s": "120",  # a loaded machine may be slow to start one
}
AUTH = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
"""Nodes ask for a token, those that join them and callers as well."""

START_S = 180.0
"""How long a node may take to start."""

SEPARATE = 'mkdir -p /tmp/ray && mount -t tmpfs none /tmp/ray && exec "$@"'
STORE_BYTES = str(100 << 20)


def quiet(environment: dict[str, str] | None = None) -> dict[str, str]:
    """Give this process's environment without an address of Ray, and with no reports to anyone."""
    own = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**own, **QUIET, **(environment or {})}


def kill_an_actor(root: int) -> int:
    """Kill one of the actors that descend from a process; gives how many were killed."""
    for pid in descendants(root):
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(ACTOR):
                os.kill(pid, signal.SIGKILL)
                return 1
    return 0


def is_actor(pid: int) -> bool:
    """Whether a process is an actor that tags."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(ACTOR)
    return False


@dataclass
class Nodes:
    """Two nodes: how a command is run on the first, its address, and how the second is cut off.

    Attributes
    ----------
    kind
        In words.
    prefix
        What stands before a command.
    environment
        What a command needs in its environment to find the first.
    second
        Process of the second.
    cut
        Cuts it off.
    """

    kind: str
    prefix: list[str]
    environment: dict[str, str]
    second: int
    cut: Callable[[], object]


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Two Ray nodes of a core each, in network namespaces if these can be made."""
    spaces = [f"earmark-{os.getpid()}-{i}" for i in range(2)]
    namespaced = network(spaces)
    inside = [["ip", "netns", "exec", space] if namespaced else [] for space in spaces]
    apart = ["unshare", "--mount", "sh", "-c", SEPARATE, "sh"] if namespaced else []  # a /tmp/ray of its own
    addresses = [HEAD, OTHER] if namespaced else ["127.0.0.1", "127.0.0.1"]
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus", "1"]
    ray += ["--object-store-memory", STORE_BYTES, "--disable-usage-stats"]
    joins = [["--head", "--include-dashboard", "false", "--port", str(PORT)], ["--address", f"{addresses[0]}:{PORT}"]]
    prefixes, started = [inside[0], [*inside[1], *apart]], list[subprocess.Popen[str]]()
    try:
        for prefix, address, join in zip(prefixes, addresses, joins, strict=True):
            started.append(start_node([*prefix, *ray, *join, "--node-ip-address", address]))

        def cut() -> None:
            if namespaced:
                subprocess.run(["ip", "-n", spaces[1], "link", "set", "veth1", "down"], check=True)
            else:
                for pid in [started[1].pid, *descendants(started[1].pid)]:
                    with suppress(OSError):
                        os.kill(pid, signal.SIGKILL)

        kind = "network namespaces, the second's link taken down" if namespaced else "processes, the second's killed"
        yield Nodes(kind, inside[0], {"RAY_ADDRESS": f"{addresses[0]}:{PORT}", **AUTH}, started[1].pid, cut)
    finally:
        for process in started:
            for pid in [*descendants(process.pid), process.pid]:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        for space in spaces if namespaced else []:
            subprocess.run(["ip", "netns", "delete", space], check=False)


def start_node(command: list[str]) -> subprocess.Popen[str]:
    """Start a node, and wait until it says that it is up."""
    with tempfile.NamedTemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, text=True, env=quiet(AUTH))
        until = time.monotonic() + START_S
        while "Ray runtime started" not in Path(said.name).read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command}: {Path(said.name).read_text()[-2000:]}")
            time.sleep(0.5)
    return process


def network(spaces: list[str]) -> bool:
    """Make two network namespaces with a link between them; whether the system allows it."""
    commands = [
        *(f"ip netns add {space}" for space in spaces),
        f"ip link add veth0 netns {spaces[0]} type veth peer name veth1 netns {spaces[1]}",
        *(f"ip -n {space} link set lo up" for space in spaces),
        *(f"ip -n {space} link set veth{i} up" for i, space in enumerate(spaces)),
        *(f"ip -n {space} addr add {(HEAD, OTHER)[i]}/24 dev veth{i}" for i, space in enumerate(spaces)),
    ]
    for command in commands:
        if shutil.which("ip") is None or subprocess.run(command.split(), capture_output=True, check=False).returncode:
            for space in spaces:
                subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)
            return False
    return True
