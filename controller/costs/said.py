"""What a backend says on its standard error (backend(7), "Messages"), ours and the real one's."""

from __future__ import annotations

import contextlib
import os

LINE_BYTES = 8192


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
