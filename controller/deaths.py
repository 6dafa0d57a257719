"""The moment in which a program ends, whoever started it: a pass need not wait for its turn to find out. Linux only."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

MOST = 256
"""Programs that are watched: each takes a descriptor. The end of any other one is found at the next look."""


@dataclass
class Deaths:
    """Calls `wake`, in a thread of its own, when one of the watched programs has ended."""

    wake: Callable[[], None]
    _watched: dict[int, int] = field(default_factory=dict)
    """Descriptors (pidfd_open(2)), by process id."""
    _poll: select.epoll = field(default_factory=select.epoll)

    def __post_init__(self) -> None:
        threading.Thread(target=self._wait, name="deaths", daemon=True).start()

    def watch(self, pid: int) -> None:
        """From now on this one too, as long as it runs. Where that is not possible, nothing happens."""
        if pid in self._watched or len(self._watched) >= MOST:
            return
        with suppress(OSError):
            self._watched[pid] = descriptor = os.pidfd_open(pid)
            self._poll.register(descriptor, select.EPOLLIN)

    def _wait(self) -> None:
        while True:
            ended = {descriptor for descriptor, _ in self._poll.poll()}
            for pid in [pid for pid, descriptor in list(self._watched.items()) if descriptor in ended]:
                os.close(self._watched.pop(pid))  # which takes it out of the poll as well
            self.wake()
