"""How much of a document the real backend has taken, by the kernel's word: what a job that is cancelled is charged by.

Runs on the node inside the CUPS backend, so it imports little.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from controller.costs.said import Said


class Progress:
    """taken: bytes, the most that was seen. total: bytes of the document, copies included."""

    def __init__(self, total: int = 0) -> None:
        self.taken, self.total = 0, total

    @property
    def share(self) -> float:
        return min(1.0, self.taken / self.total) if self.total > 0 else 0.0

    def look(self, child: int) -> None:
        """child: the real backend's process. Raises nothing."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            self.taken = max(self.taken, self._seen(child))

    def _seen(self, child: int) -> int:
        return 0


class OfFile(Progress):
    """A file that the real backend opens by itself, once for each copy."""

    def __init__(self, path: str, copies: int, said: Said) -> None:
        self.path, self.said = path, said
        self.size = os.stat(path).st_size if os.path.exists(path) else 0
        self.sent = self.place = 0
        """Whole copies before the one that is read, and how far that one was."""
        super().__init__(self.size * copies)

    def _seen(self, child: int) -> int:
        for name in os.listdir(f"/proc/{child}/fd"):
            if os.readlink(f"/proc/{child}/fd/{name}") == self.path:
                with open(f"/proc/{child}/fdinfo/{name}", encoding="ascii") as file:
                    place = int(file.readline().split()[1])
                self.sent = max(self.sent + (place < self.place), self.said.copies - 1)
                self.place = place
        return self.sent * self.size + self.place


class OfSpool(Progress):
    """An open file that is the real backend's standard input, so that it and this process have one place in it."""

    def __init__(self, handle: int) -> None:
        super().__init__(os.fstat(handle).st_size)
        self.handle = handle

    def _seen(self, child: int) -> int:
        return os.lseek(self.handle, 0, os.SEEK_CUR)


class OfPipe(Progress):
    """A pipe that is filled here. total: where it is not known it is 0, and grows with what comes of the document."""

    def __init__(self, feed: int, total: int = 0) -> None:
        super().__init__(total)
        self.feed, self.written = feed, 0
        """feed: the end for writing, -1 once it is closed."""
        self._known, self._pipe = total > 0, feed

    def came(self, count: int) -> None:
        """So many bytes of the document more, or less, when they were not counted after all."""
        if not self._known:
            self.total += count

    def write(self, data: memoryview) -> int:
        """As os.write."""
        written = os.write(self.feed, data)
        self.written += written
        return written

    def close(self) -> None:
        """What lies in it unread is seen further on, by way of an end for reading from which nothing is read."""
        if self.feed >= 0:
            self.look(0)
            self._pipe = -1
            with contextlib.suppress(OSError):
                self._pipe = os.open(f"/proc/self/fd/{self.feed}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.close(self.feed)
            self.feed = -1

    def _seen(self, child: int) -> int:
        unread = fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4))
        return self.written - int.from_bytes(unread, sys.byteorder)
