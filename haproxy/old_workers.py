"""Workers that a reload left behind: they listen no more and finish what they carry, for up to an hour.

The statistics page is answered by the new worker alone, so an upload that began before a reload is seen only here. Old
workers are not asked themselves: HAProxy 2.6.12, asked by `@!<pid>` in the moment of its end, does not end any more.
The kernel is asked instead (proc(5): /proc/PID/fd, /proc/net/tcp).

What begins on their connections after the reload they pass on to the new worker (`current` in the configuration).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from haproxy.runtime import Runtime

_ESTABLISHED, _LISTEN = "01", "0A"


def connections(runtime: Runtime) -> Counter[int]:
    """Connections of old workers by the port at their far end, idle ones and clients' included.

    Raises ProxyDown, PermissionError.
    """
    return Counter(_far_ports(runtime, _ESTABLISHED))


def listening(runtime: Runtime) -> bool:
    """Whether one of them has been told that it is an old one, but had no moment yet to act on it.

    Raises ProxyDown, PermissionError.
    """
    return any(True for _ in _far_ports(runtime, _LISTEN))


def _far_ports(runtime: Runtime, state: str) -> Iterator[int]:
    """Remote port of every TCP socket in this state that an old worker has."""
    held = {inode for worker in runtime.processes().old_workers for inode in _sockets(worker)}
    if held:
        yield from (port for inode, port in _tcp(state) if inode in held)


def _sockets(pid: int) -> Iterator[str]:
    """Inodes of a process's sockets; none when it has just ended."""
    folder = Path(f"/proc/{pid}/fd")
    with suppress(FileNotFoundError, ProcessLookupError):
        for entry in os.listdir(folder):
            with suppress(FileNotFoundError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(folder / entry)):
                    yield match[1]


def _tcp(state: str) -> Iterator[tuple[str, int]]:
    """Inode and remote port of every TCP socket in this state, of this network namespace."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == state:
                    yield fields[9], int(fields[2].rpartition(":")[2], 16)
