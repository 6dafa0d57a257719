"""Between cupsd, the real backend and the count: none of the three waits for another longer than it must."""

from __future__ import annotations

import os
import select
import time

from controller.costs import count
from controller.costs.counter import Counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from controller.costs.counter import Account
    from controller.costs.said import Said

    class Attempt(Protocol):
        """What is carried for: one attempt to print a job (controller.costs.backend)."""

        child: int
        counter: Counter | None
        said: Said

        @property
        def files(self) -> list[str]: ...
        @property
        def account(self) -> Account: ...
        def look(self) -> None: ...


CHUNK = 1 << 18
STALLED_SECONDS = 5.0
"""A count that takes nothing of its document for so long is given up, for the job waits for it."""
LOOK_SECONDS = 0.2
"""Between two looks how far the real backend has read its file."""
HEAD_BYTES = 512
"""How much of a stream must have come before it is told what it is."""


class Pump:
    """Carries the document to the real backend and to the count, and what the backend says to cupsd."""

    def __init__(self, attempt: Attempt, feed: int, said: int) -> None:
        self.attempt, self.feed, self.said = attempt, feed, said
        self.source = 0 if feed >= 0 else -1
        self.head = b""
        """What has come so far, until it is enough to tell what kind of document it is."""
        self.for_backend = self.for_count = memoryview(b"")
        self.moved = time.monotonic()
        if feed >= 0:
            os.set_blocking(feed, False)

    @property
    def count_feed(self) -> int:
        return self.attempt.counter.feed if self.attempt.counter else -1

    def _complete(self, whole: bool = True) -> None:
        if self.attempt.counter:
            self.attempt.counter.complete(whole)

    def run(self) -> None:
        ended = os.pidfd_open(self.attempt.child)
        if self.feed < 0:
            self._complete()
        while True:
            ready = self._wait(ended)
            if self.said in ready:
                self._pass_on_words()
            if ended in ready:
                break
            if self.feed in ready:
                self._feed_backend()
            if self.count_feed in ready:
                self._feed_count()
            if self.source in ready:
                self._read()
            if self.attempt.files:
                self.attempt.look()
        if self.said >= 0:
            os.set_blocking(self.said, False)
        while self.said >= 0 and self._pass_on_words():
            pass
        self._finish()
        os.close(ended)

    def _wait(self, ended: int) -> set[int]:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        if self.said >= 0:
            poll.register(self.said, select.POLLIN)
        if self.source >= 0 and not self.for_backend and not self.for_count:
            poll.register(self.source, select.POLLIN)
        if self.feed >= 0 and self.for_backend:
            poll.register(self.feed, select.POLLOUT)
        if self.count_feed >= 0 and self.for_count:
            poll.register(self.count_feed, select.POLLOUT)
            if not self.for_backend and time.monotonic() - self.moved > STALLED_SECONDS:
                self._give_up_count()
        busy = bool(self.attempt.files) or bool(self.for_count)
        return {handle for handle, _ in poll.poll(LOOK_SECONDS * 1000 if busy else None)}

    def _read(self) -> None:
        chunk = os.read(self.source, CHUNK)
        self.moved = time.monotonic()
        if self.feed >= 0:
            self.for_backend = memoryview(chunk)
        if self.attempt.counter:
            self.for_count = memoryview(chunk if self.count_feed >= 0 else b"")
        else:
            self.head += chunk
            if self.head and (not chunk or len(self.head) >= HEAD_BYTES):
                self._begin_count()
        if not chunk:
            self.source = -1
            self._close_when_done()

    def _begin_count(self) -> None:
        self.attempt.counter = Counter(self.attempt.account, [count.sniff(self.head)])
        os.set_blocking(self.count_feed, False)
        self.for_count, self.head = memoryview(self.head), b""

    def _feed_backend(self) -> None:
        try:
            self.for_backend = self.for_backend[os.write(self.feed, self.for_backend) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it wants no more; the filter before us must learn of it
            self.for_backend = memoryview(b"")
            os.close(self.feed)
            self.feed = -1
            self._end_source()
        self.moved = time.monotonic()
        self._close_when_done()

    def _feed_count(self) -> None:
        try:
            self.for_count = self.for_count[os.write(self.count_feed, self.for_count) :]
        except BlockingIOError:
            return
        except OSError:  # it is full, or has ended
            self._give_up_count()
        self.moved = time.monotonic()
        self._close_when_done()

    def _give_up_count(self) -> None:
        self.for_count = memoryview(b"")
        self._complete(whole=False)

    def _end_source(self) -> None:
        self.source = -1
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)

    def _close_when_done(self) -> None:
        if self.source < 0 and not self.for_backend and self.feed >= 0:
            os.close(self.feed)
            self.feed = -1
        if self.source < 0 and not self.for_count:
            self._complete()

    def _finish(self) -> None:
        if self.feed >= 0:
            os.close(self.feed)
            self.feed = -1
        whole = self.source < 0 and not self.for_backend
        if self.source >= 0:
            self._end_source()
        self._complete(whole)

    def _pass_on_words(self) -> bool:
        """Returns whether more may come at once."""
        try:
            chunk = os.read(self.said, 65_536)
        except BlockingIOError:
            chunk = b""
        if chunk:
            self.attempt.said.hear(chunk)
            return True
        os.close(self.said)
        self.said = -1
        self.attempt.said.end()
        return False
