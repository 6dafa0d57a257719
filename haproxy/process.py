"""The master process: found again by pid and start time, started detached, ended with a deadline."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from haproxy.errors import ProxyDown

RECORD = "master.json"
LOG = "haproxy.log"
_started: list[subprocess.Popen[bytes]] = []
"""Kept so that a master that ends before us is reaped; it is meant to outlive the object that started it."""


@dataclass(frozen=True)
class Identity:
    """A process that can't be mistaken for a later one with the same number."""

    pid: int
    started: int
    """Clock ticks after boot (proc(5), field 22 of stat)."""
    boot: str

    def alive(self) -> bool:
        return self == identity_of(self.pid)


def identity_of(pid: int) -> Identity | None:
    """Who has this pid now; None when nobody has, or a zombie that only waits for its parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return Identity(pid, int(fields[19]), _boot())


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def recorded(folder: Path) -> Identity | None:
    """The master that runs for this folder, if one does."""
    identity = _last(folder)
    return identity if identity and identity.alive() else None


def fell(folder: Path) -> bool:
    """Whether the last master, since this machine was started, is gone without having been stopped."""
    identity = _last(folder)
    return identity is not None and identity.boot == _boot() and not identity.alive()


def _last(folder: Path) -> Identity | None:
    try:
        return Identity(**json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def record(folder: Path, pid: int) -> None:
    identity = identity_of(pid)
    if identity:
        (folder / RECORD).write_text(json.dumps(asdict(identity)))


def forget(folder: Path) -> None:
    (folder / RECORD).unlink(missing_ok=True)


def launch(folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Start in a session of its own, with both outputs in the log, so that it survives whoever started it."""
    _reap()
    with (folder / LOG).open("ab") as log:
        (folder / LOG).chmod(0o600)
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
        except OSError as error:
            raise ProxyDown(f"{command[0]} can't be started ({error}); install HAProxy 2.6 or later") from error
    _started.append(child)
    return child


def end(master: Identity, workers: Iterable[int], grace: float) -> None:
    """Ask to stop softly, then at once, then kill: half of `grace` seconds for each of the first two.

    The master ends its workers itself; they are killed here only when the master had to be.
    """
    alive = [worker for worker in map(identity_of, workers) if worker]
    for number in (signal.SIGUSR1, signal.SIGTERM):
        if _sent(master, number) and _gone(master, grace / 2):
            break
    for left in (master, *alive):
        _sent(left, signal.SIGKILL)
    _gone(master, 5.0)
    _reap()


def _reap() -> None:
    for child in _started:
        child.poll()


def _sent(target: Identity, number: int) -> bool:
    if not target.alive():
        return False
    with suppress(ProcessLookupError):
        os.kill(target.pid, number)
    return True


def _gone(target: Identity, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while target.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def trim_log(folder: Path, limit: int) -> bool:
    """Move a log of more than `limit` bytes to `haproxy.log.1`, in place of the one before; whether it was moved.

    HAProxy keeps its handle, which appends: the file is copied and emptied. Lines written in between are lost.
    """
    log = folder / LOG
    if not log.exists() or log.stat().st_size <= limit:
        return False
    shutil.copy2(log, log.with_name(f"{LOG}.1"))
    os.truncate(log, 0)
    return True
