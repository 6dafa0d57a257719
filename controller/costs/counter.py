"""Counting in a process of its own, with limits: a hostile document must not hang, bloat or crash a node.

Runs on the node inside the CUPS backend, so it imports little.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time

from controller.costs import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

COUNT_SECONDS = 20.0
"""Longest wait for a count once its document is complete."""
CPU_SECONDS = 20
"""Processor time; a stream of gigabytes takes less than a second for each (measured 1.5 GB/s of raster)."""
MEMORY = 320 << 20
"""Bytes of private memory beyond what it begins with (RLIMIT_DATA)."""
PR_SET_PDEATHSIG = 1
_COMPLETE, _CUT = b".", b"-"
"""Said of a document that was written down: it has ended, or no more of it will come."""


class Account:
    """What a child becomes before it touches a document; None of both: what it is."""

    def __init__(self, user: int | None = None, group: int | None = None, packages: str = "") -> None:
        self.user, self.group, self.packages = user, group, packages

    def become(self) -> None:
        """As cupsd does for a backend that it does not run as root."""
        if self.user is not None and self.group is not None and os.geteuid() == 0:
            os.setgid(self.group)
            os.setgroups([self.group])
            os.setuid(self.user)


class Counter:
    """A child that counts documents.

    paths: of files, each counted, or () for a stream: then `feed` is the descriptor to which the document is written,
    a pipe for the formats that are read from front to back and a file without a name for PDF. Raises OSError where it
    can't begin.
    """

    def __init__(self, account: Account, kinds: Sequence[str], paths: Sequence[str] = (), keep: int = -1) -> None:
        self.feed = -1
        self._counted: count.Count | None = None
        answer, self._say = os.pipe()
        self.answer = answer
        self._go, go = -1, -1
        stream, self._parent = -1, os.getpid()
        if not paths and kinds[0] == count.PDF:
            go, self._go = os.pipe()
            stream = self.feed = scratch(account)
            paths, keep = [f"/proc/self/fd/{stream}"], stream
        elif not paths:
            stream, self.feed = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._count(account, kinds, paths, stream if self._go < 0 else -1, go, keep)
        for handle in (self._say, go, stream if self._go < 0 else -1):
            if handle >= 0:
                os.close(handle)

    def complete(self, cut: bool = False) -> None:
        """The document has ended, or was cut off: only now a PDF can be counted. A second call changes nothing."""
        if self._go >= 0:
            with contextlib.suppress(OSError):
                os.write(self._go, _CUT if cut else _COMPLETE)
        self._let_go()

    def _let_go(self) -> None:
        for handle in (self._go, self.feed):
            if handle >= 0:
                os.close(handle)
        self._go = self.feed = -1

    def give_up(self, why: str) -> None:
        """What came of the document so far is not counted."""
        self._counted = count.unknown(why)
        self._let_go()
        self.end()

    def ready(self, seconds: float) -> bool:
        """Whether the result is there, or is so within this time."""
        return self._counted is not None or bool(select.select([self.answer], [], [], seconds)[0])

    def result(self) -> count.Count:
        """Waits, and ends the child. Raises nothing."""
        if self._counted is None:
            self._let_go()
            self._counted = self._await(time.monotonic() + COUNT_SECONDS)
            self.end()
        return self._counted

    def end(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.answer)
            self.pid = 0

    def _await(self, until: float) -> count.Count:
        text = b""
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.answer], [], [], left)[0]:
                return count.unknown(f"counting it took longer than {COUNT_SECONDS:g} s")
            chunk = os.read(self.answer, 65_536)
            if not chunk:
                break
            text += chunk
        try:
            return count.from_plain(json.loads(text))
        except (ValueError, TypeError):
            return count.unknown("counting it took more time or memory than allowed")

    def _count(
        self, account: Account, kinds: Sequence[str], paths: Sequence[str], stream: int, go: int, keep: int
    ) -> NoReturn:
        """The child's life."""
        answer = b""
        try:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a cancelled job is counted as far as it got
            self._leave({self._say, stream, go, keep})
            _limit(resource.RLIMIT_CPU, CPU_SECONDS)
            _limit(resource.RLIMIT_DATA, _held() + MEMORY)
            _limit(resource.RLIMIT_CORE, 0)
            if account.packages:
                sys.path.append(account.packages)
            # Before it becomes another account: what they import may lie where only root may look.
            readers = [count.reader(kind) for kind in kinds]
            account.become()
            die_with_parent(self._parent)
            counted = []
            told = os.read(go, 1) if go >= 0 else _COMPLETE
            if not told:
                counted = [count.unknown("the document ended too soon")]
            elif paths:
                counted = [_of_file(reader, path, told == _CUT) for reader, path in zip(readers, paths, strict=True)]
            else:
                counted = [readers[0](stream, "", False)]
            answer = json.dumps(count.believed(count.added(counted)).plain()).encode()
        except BaseException as error:
            answer = json.dumps(count.unknown(_said(error)).plain()).encode()
        with contextlib.suppress(BaseException):
            os.write(self._say, answer)
        os._exit(0)

    def _leave(self, kept: set[int]) -> None:
        """Let go of the job's descriptors: who waits for their end must not wait for the count."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for handle in (0, 1, 2):
            os.dup2(nowhere, handle)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in kept:
                with contextlib.suppress(OSError):
                    os.close(int(name))


class Uncounted(Counter):
    """In place of a count that can't be made. why: in words."""

    def __init__(self, why: str) -> None:
        self.feed = self.answer = self._go = -1
        self.pid = 0
        self._counted = count.unknown(why)


def begin(account: Account, kinds: Sequence[str], paths: Sequence[str] = (), keep: int = -1) -> Counter:
    """A count that is under way; `unknown` where none can be: no room, no descriptors, no more processes."""
    try:
        return Counter(account, kinds, paths, keep)
    except OSError as error:
        return Uncounted(f"counting it could not begin: {error.strerror}")


def _of_file(reader: count.Reader, path: str, cut: bool) -> count.Count:
    with open(path, "rb") as file:
        return reader(file.fileno(), path, cut)


def _said(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "counting it took more memory than allowed"
    return f"{type(error).__name__}: {error}"[:200]


def _held() -> int:
    """Bytes of private memory that this process has from the one that it was forked from (proc(5), statm: data)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (allowed, allowed))


def scratch(account: Account) -> int:
    """A file without a name, readable for the account. Raises OSError."""
    handle = os.open(os.environ.get("TMPDIR", "/tmp"), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    if account.user is not None and account.group is not None and os.geteuid() == 0:
        os.fchown(handle, account.user, account.group)
    return handle


def die_with_parent(parent: int) -> None:
    """Whoever ends the parent, even by SIGKILL, ends this process too (prctl(2)). It is forgotten when a process
    becomes another account, so it comes after that. parent: who forked this process, which may have ended since."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
