"""Importing earmark, all of it, opens no connection and asks for no name."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_NETWORK = """
import importlib, pkgutil, sys

def refuse(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"}:
        raise SystemExit(f"{event} {arguments}")

sys.addaudithook(refuse)
import earmark
if sys.argv[1:]:
    import socket
    socket.getaddrinfo("127.0.0.1", 9)
names = [module.name for module in pkgutil.walk_packages(earmark.__path__, "earmark.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_NETWORK, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_import_asks_the_network() -> None:
    done = ran()
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


def test_what_does_is_caught() -> None:
    done = ran("ask")
    assert done.returncode == 1
    assert "socket.getaddrinfo" in done.stderr
