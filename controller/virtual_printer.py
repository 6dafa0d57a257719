"""A printer that keeps each document instead of printing it: a raw socket sink, as port 9100 of a network printer.

    python -m controller.virtual_printer --folder DIR --port N [--pages-per-minute N] [--parallel one|many]

A connection is a document; its end (the sender's FIN) is the document's end. The document appears in DIR at once and
whole, as TIME-SEQUENCE.EXT: TIME is UTC, SEQUENCE never repeats (it goes on after a restart), EXT follows the content.
What came over a connection that broke is kept as ….partial, for a real printer would have printed it. A connection
without a byte leaves nothing. The printer answers nothing; it closes the connection when the last page is out, for
which CUPS's socket backend waits. When a document can't be kept (disk full), or the printer is ended before the last
page, the connection is reset: the sender learns of it and tries again.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import re
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

CHUNK = 1 << 18
BACKLOG = 128
_INCOMING = ".incoming-"
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing discards and resets."""
_ORDERLY = struct.pack("ii", 0, 0)
_KINDS = (
    (b"%PDF-", "pdf"),
    (b"%!", "ps"),
    (b"\x04%!", "ps"),
    (b"RaS2", "pwg"),
    (b"UNIRAST\0", "urf"),
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"\x1bE", "pcl"),
    (b") HP-PCL XL", "pxl"),
)
_LANGUAGES = ((b"PDF", "pdf"), (b"POSTSCRIPT", "ps"), (b"PCLXL", "pxl"), (b"PCL", "pcl"))
_PJL = re.compile(rb"@PJL\s+ENTER\s+LANGUAGE\s*=\s*(\w+)", re.IGNORECASE)


@dataclass
class VirtualPrinter:
    folder: Path
    port: int
    pages_per_minute: float = 0
    """0 prints as fast as documents arrive."""
    parallel: bool = True
    """False: a connection is read only after the one before has been printed, as real printers do."""
    host: str = "127.0.0.1"
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    _sequence: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self) -> None:
        """Accept documents until cancelled. Raises OSError when the port is taken or the folder can't be made."""
        self._continue()
        loop = asyncio.get_running_loop()
        with socket.create_server((self.host, self.port), backlog=BACKLOG) as listener:
            listener.setblocking(False)
            while True:
                connection, _ = await loop.sock_accept(listener)
                task = asyncio.create_task(self._take(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                if not self.parallel:
                    await task

    def _continue(self) -> None:
        """Go on counting, and keep what an earlier life left half received."""
        self.folder.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in self.folder.iterdir()]
        numbers = [int(match[1]) for name in names if (match := re.search(r"-(\d{6,})\b", name))]
        self._sequence = max(numbers, default=0)
        for path in self.folder.glob(_INCOMING + "*"):
            path.rename(self.folder / f"{_now()}-{path.name.removeprefix(_INCOMING)}.{kind(path)}.partial")

    async def _take(self, connection: socket.socket) -> None:
        self._sequence += 1
        number = f"{self._sequence:06d}"
        scratch = self.folder / f"{_INCOMING}{number}"
        connection.setblocking(False)
        # Until the document is out, the end of this program must not look like the end of a job.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with connection:
            try:
                whole = await self._receive(connection, scratch)
                if scratch.stat().st_size == 0:
                    scratch.unlink()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ORDERLY)
                    return
                if self.pages_per_minute:
                    await asyncio.sleep(pages(scratch) * 60 / self.pages_per_minute)
                name = f"{_now()}-{number}.{kind(scratch)}"
                scratch.rename(self.folder / (name if whole else name + ".partial"))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ORDERLY)
                self.say(f"{name} printed" if whole else f"{name} broke off")
            except OSError as error:
                self.say(f"document {number} could not be kept in {self.folder}: {error}")
                with suppress(OSError):
                    scratch.unlink(missing_ok=True)

    async def _receive(self, connection: socket.socket, scratch: Path) -> bool:
        """Write what comes to a file; False when the connection broke. Raises OSError when it can't be written."""
        with scratch.open("wb") as file:
            return await _pour(connection, file)


async def _pour(connection: socket.socket, file: BinaryIO) -> bool:
    loop = asyncio.get_running_loop()
    while True:
        try:
            chunk = await loop.sock_recv(connection, CHUNK)
        except ConnectionError:
            return False
        if not chunk:
            return True
        file.write(chunk)
        file.flush()  # what has arrived survives a kill, and a full disk shows while the sender listens


def kind(document: Path) -> str:
    """A file extension for a document by its first bytes; `prn` when they tell nothing."""
    with document.open("rb") as file:
        head = file.read(4096)
    if language := _PJL.search(head):
        return next((name for word, name in _LANGUAGES if language[1].upper().startswith(word)), "prn")
    for start, name in _KINDS:
        if head.startswith(start):
            return name
    return "txt" if head and all(byte >= 32 or byte in b"\t\n\r\f\b\x1b" for byte in head) else "prn"


def pages(document: Path) -> int:
    """Roughly how many pages a document has, at least 1.

    PDF: its page objects, or the largest /Count when they lie in compressed streams. PostScript: %%Page comments.
    Text: form feeds, or 66 lines a page. Anything else counts as one page.
    """
    form = kind(document)
    with document.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if form == "pdf":
            counts = [int(count) for count in re.findall(rb"/Count\s+(\d{1,6})\b", data)]
            return _count(rb"/Type\s*/Page\b", data) or max(counts, default=1)
        if form == "ps":
            return _count(rb"^%%Page:", data) or 1
        if form == "txt":
            return max(_count(rb"\f", data), _count(rb"\n", data) // 66, 1)
    return 1


def _count(pattern: bytes, data: mmap.mmap) -> int:
    return sum(1 for _ in re.finditer(pattern, data, re.MULTILINE))


def _now() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def main() -> None:
    parser = argparse.ArgumentParser(prog="controller.virtual_printer", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where documents are kept")
    parser.add_argument("--port", type=int, required=True, help="TCP port to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--pages-per-minute", type=float, default=0, help="speed; 0 for unlimited (default)")
    parser.add_argument("--parallel", choices=("one", "many", "1"), default="many", help="documents at a time")
    given = parser.parse_args()
    printer = VirtualPrinter(given.folder, given.port, given.pages_per_minute, given.parallel == "many", given.host)
    try:
        asyncio.run(printer.serve())
    except OSError as error:
        sys.exit(f"the virtual printer can't start: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
