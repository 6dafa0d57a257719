"""Between cupsd, the real backend and the count: none of the three waits for another longer than it must."""

from __future__ import annotations

import os
import select
import time

from controller.costs import count
from controller.costs.counter import begin
from controller.costs.progress import OfPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from controller.costs.counter import Account, Counter
    from controller.costs.said import Said

    class Attempt(Protocol):
        """What is carried for: one attempt to print a job (controller.costs.backend)."""

        child: int
        counter: Counter | None
        counted: count.Count | None
        said: Said

        @property
        def account(self) -> Account: ...
        def note_count(self) -> None: ...
        def note_progress(self) -> None: ...


CHUNK = 1 << 18
STALLED_SECONDS = 5.0
"""A count that takes nothing of its document for so long is given up, for the job waits for it."""
LOOK_SECONDS = 0.2
"""Between two looks how much of the document the real backend has taken."""
HEAD_BYTES = 512
"""How much of a stream must have come before it is told what it is."""


class Pump:
    """Carries the document to the real backend and to the count, and what the backend says to cupsd.

    A stream goes to both chunk by chunk. A PDF is written down for the count in any case, so it is taken as fast as it
    comes and sent from there: one that is cancelled while it prints has then come as a whole, and can be counted.

    spool, beyond: what came before this began, a file and what found no room in it; it is sent first.
    """

    def __init__(
        self, attempt: Attempt, stream: OfPipe | None, said: int, spool: int = -1, beyond: bytes = b""
    ) -> None:
        self.attempt, self.said = attempt, said
        self.stream = stream or OfPipe(-1)
        self.source = 0 if stream else -1
        self.head = b""
        """What has come so far, until it is enough to tell what kind of document it is."""
        self.for_backend = self.for_count = memoryview(b"")
        self.spool, self.spool_place, self.beyond_spool = spool, 0, memoryview(beyond)
        """The file in which a PDF is counted, up to where it was handed on, and what comes after it."""
        self.cut = False
        """The real backend wanted no more of it."""
        self.moved = self.looked = time.monotonic()
        if stream:
            os.set_blocking(stream.feed, False)
            self.stream.came((os.fstat(spool).st_size if spool >= 0 else 0) + len(beyond))

    @property
    def count_feed(self) -> int:
        return self.attempt.counter.feed if self.attempt.counter else -1

    @property
    def _spooling(self) -> bool:
        return self.spool >= 0 and self.count_feed >= 0

    def run(self) -> None:
        ended = os.pidfd_open(self.attempt.child)
        if self.source < 0:
            self._complete()
        while True:
            ready = self._wait(ended)
            if self.said in ready:
                self._pass_on_words()
            if ended in ready:
                break
            if self.stream.feed in ready:
                self._feed_backend()
            if self.count_feed in ready:
                self._feed_count()
            if self.source in ready:
                self._read()
            if self._answer in ready:
                self._take_count()
            self._look()
        if self.said >= 0:
            os.set_blocking(self.said, False)
        while self.said >= 0 and self._pass_on_words():
            pass
        self._finish()
        os.close(ended)

    @property
    def _answer(self) -> int:
        """Where the count comes, -1 while there is none, and when it was taken."""
        return self.attempt.counter.answer if self.attempt.counter and self.attempt.counted is None else -1

    def _wait(self, ended: int) -> set[int]:
        self._refill()
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        for handle in (self.said, self._answer):
            if handle >= 0:
                poll.register(handle, select.POLLIN)
        if self.source >= 0 and not self.for_count and (self._spooling or not (self.for_backend or self.spool >= 0)):
            poll.register(self.source, select.POLLIN)
        if self.stream.feed >= 0 and self.for_backend:
            poll.register(self.stream.feed, select.POLLOUT)
        if self.count_feed >= 0 and self.for_count:
            poll.register(self.count_feed, select.POLLOUT)
            if not self.for_backend and time.monotonic() - self.moved > STALLED_SECONDS:
                self._give_up_count("it took nothing of the document for too long")
        return {handle for handle, _ in poll.poll(LOOK_SECONDS * 1000)}

    def _look(self) -> None:
        if time.monotonic() - self.looked >= LOOK_SECONDS:
            self.attempt.note_progress()
            self.looked = time.monotonic()

    def _read(self) -> None:
        chunk = os.read(self.source, CHUNK)
        self.moved = time.monotonic()
        self.stream.came(len(chunk))
        if self.stream.feed >= 0 and not self._spooling:
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
        kind = count.sniff(self.head)
        self.attempt.counter = begin(self.attempt.account, [kind])
        if self.count_feed >= 0:
            os.set_blocking(self.count_feed, False)
            if kind == count.PDF:
                self.spool, self.spool_place = os.dup(self.count_feed), len(self.head)
            self.for_count = memoryview(self.head)
        self.head = b""

    def _refill(self) -> None:
        """Have more of what was written down sent."""
        if self.spool < 0 or self.for_backend:
            return
        chunk = memoryview(os.pread(self.spool, CHUNK, self.spool_place))
        self.spool_place += len(chunk)
        if not chunk and not self._spooling:
            chunk, self.beyond_spool = self.beyond_spool, chunk
            os.close(self.spool)
            self.spool = -1
        if self.stream.feed >= 0:
            self.for_backend = chunk
        self._close_when_done()

    def _feed_backend(self) -> None:
        try:
            self.for_backend = self.for_backend[self.stream.write(self.for_backend) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it wants no more; the filter before us must learn of it
            self.for_backend = memoryview(b"")
            self.stream.close()
            self.cut = self.source >= 0
            self._end_source()
        self.moved = time.monotonic()
        self._close_when_done()

    def _feed_count(self) -> None:
        try:
            self.for_count = self.for_count[os.write(self.count_feed, self.for_count) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has ended, and its answer is there
            self._take_count()
        except OSError as error:
            self._give_up_count(f"it could not be written down: {error.strerror}")
        self.moved = time.monotonic()
        self._close_when_done()

    def _take_count(self) -> None:
        """It is there, and nothing more goes to it."""
        if self.spool >= 0 and self.for_count:
            sent = self.spool_place - os.fstat(self.spool).st_size  # of the head, before it was written down
            self.beyond_spool = self.for_count[max(0, sent) :]
        self.for_count = memoryview(b"")
        self.attempt.note_count()
        self._close_when_done()

    def _give_up_count(self, why: str) -> None:
        if self.attempt.counter:
            self.attempt.counter.give_up(why)
        self._take_count()

    def _end_source(self) -> None:
        self.source = -1
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)

    def _close_when_done(self) -> None:
        if self.source < 0 and not self.for_count:
            self._complete()
        if self.source < 0 and not self.for_backend and self.spool < 0:
            self.stream.close()

    def _complete(self) -> None:
        if self.attempt.counter:
            self.attempt.counter.complete(self.cut)

    def _finish(self) -> None:
        self.stream.close()
        if self.source >= 0:
            self.cut = True
            self.stream.came(-len(self.for_count))
            self._end_source()
        self._complete()
        if self.spool >= 0:
            os.close(self.spool)

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
