"""The master process: found again by pid and start time, started detached, ended with a deadline."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from haproxy.errors import ProxyDown
from machine.identity import Identity, boot_id, identity_of, read_record, start_detached, write_record
from machine.programs import program

RECORD = "master.json"
LOG = "haproxy.log"


def recorded(folder: Path) -> Identity | None:
    """The master that runs for this folder, if one does."""
    identity = read_record(folder / RECORD)
    return identity if identity and identity.alive() else None


def fell(folder: Path) -> bool:
    """Whether the last master, since this machine was started, is gone without having been stopped."""
    identity = read_record(folder / RECORD)
    return identity is not None and identity.boot == boot_id() and not identity.alive()


def record(folder: Path, pid: int) -> None:
    write_record(folder / RECORD, pid)


def forget(folder: Path) -> None:
    (folder / RECORD).unlink(missing_ok=True)


def binary() -> str:
    """The path of HAProxy. Raises ProxyDown where it is not installed."""
    found = program("haproxy")
    if found is None:
        raise ProxyDown("haproxy is not installed: apt-get install haproxy (2.6 or later)")
    return str(found)


def launch(folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Start it with both outputs in the log, which is private. It survives whoever started it."""
    log = folder / LOG
    log.touch()
    log.chmod(0o600)
    try:
        return start_detached(command, log, cwd=folder)
    except OSError as error:
        raise ProxyDown(f"{command[0]} can't be started ({error}); it must be HAProxy 2.6 or later") from error


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
