"""Where servers listen, under which names they answer, and how they stop."""

from __future__ import annotations

import ipaddress
import socket

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine for itself; a page answers to no others, so that no foreign site can ask under its own."""


def is_loopback(host: str) -> bool:
    """Whether an address is only reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def opened(host: str, port: int) -> tuple[socket.socket, str]:
    """Listen; gives the socket, and the address of what is served there.

    Parameters
    ----------
    host, port
        Port 0 takes any that is free.

    Raises
    ------
    OSError
        When the port is taken, or the host is not this machine's.
    """
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    name = f"[{host}]" if ":" in host else host
    return listening, f"http://{name}:{listening.getsockname()[1]}/"
