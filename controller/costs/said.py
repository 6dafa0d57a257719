"""What a backend says on its standard error (backend(7), "Messages"), ours and the real one's."""

from __future__ import annotations

import contextlib
import os

LINE_BYTES = 8192
IPP_SCHEMES = ("ipp", "ipps", "http", "https")
"""Of CUPS's ipp backend. Its `PAGE: total` is the printer's word on this job alone once it is told to leave SNMP alone;
other backends know only the printer's life counter, which runs for all the nodes that print to it."""
QUEUE_PATHS = ("/printers/", "/classes/")
"""Of another CUPS server's queues. What that says is no printer's word: of a raw queue it counts copies, not pages."""


class Said:
    """What the real backend says: passed on line by line, so that no line of ours falls into one of its."""

    def __init__(self, own_totals: bool) -> None:
        self.own_totals = own_totals
        self.total = 0
        """The highest `PAGE: total`, where it speaks of this job."""
        self.copies = 0
        """How often it said that it begins to send the file."""
        self._rest = b""

    def hear(self, chunk: bytes) -> None:
        lines, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        for line in lines.split(b"\n") if newline else ():
            words = line.split()
            if words[:2] == [b"PAGE:", b"total"]:
                if self.own_totals and words[2:] and words[2].isdigit():
                    self.total = max(self.total, int(words[2]))
            elif words[:1] == [b"PAGE:"]:
                self.copies += 1
        self._write(lines + newline)
        if len(self._rest) > LINE_BYTES:
            self._write(self._rest)
            self._rest = b""

    def end(self) -> None:
        """What it said last, even if it was no whole line."""
        if self._rest:
            self._write(self._rest + b"\n")
            self._rest = b""

    def _write(self, words: bytes) -> None:
        with contextlib.suppress(OSError):  # cupsd has gone; the job is still printed
            write_all(2, words)


def tell(kind: str, text: str) -> None:
    write_all(2, f"{kind}: {text}\n".encode(errors="replace"))


def write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def speaks_of_the_job(device: str) -> bool:
    """Whether the real backend's totals are a printer's own, of this job."""
    scheme, _, place = device.partition("://")
    return scheme in IPP_SCHEMES and not f"/{place.partition('/')[2]}".startswith(QUEUE_PATHS)


def without_snmp(device: str) -> str:
    """The device as the real backend gets it. Where the queue has a driver, CUPS's ipp backend would end a job with
    what the printer's life counter has grown by, whoever printed meanwhile (backend/ipp.c). Of an option given twice
    the last counts."""
    if device.partition(":")[0] not in IPP_SCHEMES:
        return device
    return f"{device}{'&' if '?' in device else '?'}snmp=false"
