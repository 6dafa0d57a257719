"""sd_notify(3) in both directions: the daemon says how far it is, whoever started it listens.

systemd and `up --detach` are told in the same way, by datagrams to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

log = logging.getLogger("cupsfleet")

PATIENCE_SECONDS = 60.0
"""So much longer whoever waits for the start should wait, each time."""
MIGRATING = (
    "the database is brought into the shape of this version, which takes a minute or two where it holds ten million "
    "jobs; it may be interrupted, and begins anew at the next start"
)


def notify(message: str) -> None:
    """Send `READY=1`, `STATUS=…` or the like; nothing happens when nobody listens."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect("\0" + name[1:] if name.startswith("@") else name)
            sender.send(message.encode())


@dataclass
class Patience:
    """Says, to whoever waits for the start, that the database of an older version is brought into shape first."""

    _told: float = 0.0

    def __call__(self) -> None:
        if not self._told:
            log.warning(MIGRATING)
        if time.monotonic() - self._told > PATIENCE_SECONDS / 10:
            self._told = time.monotonic()
            notify(f"STATUS={MIGRATING}\nEXTEND_TIMEOUT_USEC={PATIENCE_SECONDS * 1_000_000:.0f}")


class Listener:
    """Receives what a program that was started with `NOTIFY_SOCKET=listener.name` has to say."""

    def __init__(self) -> None:
        self.name = f"@cupsfleet-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.name[1:])

    def messages(self, timeout: float) -> Iterator[tuple[str, str]]:
        """What arrives within `timeout` seconds, as (name, value): at least one waiting datagram, or nothing."""
        self._socket.settimeout(timeout)
        with suppress(TimeoutError):
            for line in self._socket.recv(65536).decode().splitlines():
                name, _, value = line.partition("=")
                yield name, value

    def close(self) -> None:
        self._socket.close()
