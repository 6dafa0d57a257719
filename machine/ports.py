"""Whether a server could listen somewhere on this machine."""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _END, _TRIES = 10_000, 1 << 16, 1000
_CHANCE = random.SystemRandom()
"""Never seeded, so that two who ask at the same moment get different ports."""


def hindrance(host: str, port: int) -> str:
    """Why nobody could listen there now, in the system's words; '' when somebody could. Port 0 is any one.

    `*` is every IPv4 address, `::` every address of both families.
    """
    address = "0.0.0.0" if host == "*" else host
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address == "::":
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind((address, port))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def free(host: str, port: int) -> bool:
    return not hindrance(host, port)


def unused(host: str) -> int:
    """A port at which nobody listens, by chance. Raises OSError when none can be had.

    It is below those that the kernel gives to outgoing connections, unless that leaves few: one of these might have it
    when its server comes, or comes again.
    """
    first = int(_OUTGOING.read_text().split()[0])
    for port in _CHANCE.sample(range(_LOWEST, first if first >= 2 * _LOWEST else _END), _TRIES):
        if free(host, port):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port could be found at {host}")
