"""What a node's backend writes down about each attempt to print a job, and how it is read again.

One file a day in NODE/costs/, `journal-20261122`, one JSON object a line, each line written at once and on disk before
the backend goes on. Lines of an attempt, told apart by `run`:

    {"event": "begin", "run": …, "at": …, "uuid": …, "job": …, "user": …, "queue": …, "title": …,
     "driver": …, "options": {…}, "separately": …, "copies": …} and a `count` that is known already
    {"event": "count", "run": …, "count": [origin, [[medium, colour, pages], …], copies, sides, why], "share": …}
    {"event": "sent", "run": …, "share": …}
    {"event": "end", "run": …, "at": …, "status": …, "whole": …, "share": …, "reported": …, "count": …}

    {"event": "held", "run": …, "at": …, "reason": …, "count": …} and what `begin` has; it stands alone

`whole`: the real backend says that all is printed; `share`: how much of the document it had taken; `count` is null in
`end` where it stands in a line of its own: before it, as soon as it was known, or behind it where counting took longer
than printing, then without a share. `sent` alone may reach the disk later: it is for backends that are killed, which
loses nothing that was written. Runs on nodes as well, so it imports little.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FOLDER = "costs"
PREFIX = "journal-"
KEPT_OPTIONS = (
    "sides",
    "Duplex",
    "media",
    "PageSize",
    "print-color-mode",
    "ColorModel",
    "job-billing",
    "job-account-id",
    "job-originating-host-name",
)
"""Options of a job that matter to its price; the rest is nobody's business here."""
_TEXT = 255
"""Characters kept of a text that a user chose."""


def append(folder: str, record: dict[str, Any], sync: bool = True) -> None:
    """Add a line to today's file below a node's folder. Raises OSError."""
    place = os.path.join(folder, FOLDER)
    os.makedirs(place, mode=0o700, exist_ok=True)
    path = os.path.join(place, PREFIX + time.strftime("%Y%m%d", time.gmtime()))
    line = json.dumps(record, separators=(",", ":")) + "\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # A writer that was cut off by a full disk or a power loss left half a line: it must not swallow this one.
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (b"\n" if torn else b"") + line.encode())
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)


def kept(options: dict[str, str]) -> dict[str, str]:
    return {name: options[name][:_TEXT] for name in KEPT_OPTIONS if name in options}


def files(folder: str) -> list[str]:
    """The journal's files of a node, oldest first."""
    place = os.path.join(folder, FOLDER)
    try:
        return sorted(os.path.join(place, name) for name in os.listdir(place) if name.startswith(PREFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(path: str, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Whole lines from `offset` on, each with the offset behind it; what is no record is passed over."""
    with open(path, "rb") as file:
        if offset > os.fstat(file.fileno()).st_size:
            offset = 0  # an older state of it was put back, and reading a line again changes nothing
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # it is being written
            offset += len(line)
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("run"), str):
                yield record, offset
