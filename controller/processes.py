"""Programs that outlive the controller, and are found again by the next one, by a small record file of each."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from machine.identity import identity_of, read_record, recorded, start_detached, stat_fields, write_record

LOG_BYTES = 1_000_000
"""A log larger than this is set aside (as NAME.old, one generation) when its program is started."""
POLL_SECONDS = 0.02
_EXITING = 0x4
"""PF_EXITING of linux/sched.h."""
MARK = "CUPSFLEET_NODE"
"""Environment variable that every process of a node carries, filters and backends included."""


def spawn(
    command: Sequence[str],
    record: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
) -> int:
    """Start `command` detached, write its record, return its process id. Raises OSError when it cannot be started."""
    _set_aside(log)
    record.parent.mkdir(parents=True, exist_ok=True)
    process = start_detached(command, log, env, pass_fds, cwd)
    try:
        write_record(record, process.pid)
    except OSError:
        process.kill()  # nobody could find it again
        raise
    return process.pid


def running(record: Path) -> bool:
    """Whether the very process that the record describes runs; a zombie does not, nor one that was just killed."""
    return running_pid(record) is not None


def running_pid(record: Path) -> int | None:
    """The id of the process that the record describes, while it runs."""
    pid = recorded_pid(record)
    return None if pid is None or _dying(pid) else pid


def recorded_pid(record: Path) -> int | None:
    """The id of the recorded process until it is gone, else None (also for a missing or broken record).

    While it is dying it still holds its ports.
    """
    identity = read_record(record)
    return identity.pid if identity and identity.alive() else None


def end(record: Path, deadline: float = 5.0) -> None:
    """End the recorded process and its group: SIGTERM, and SIGKILL after `deadline` seconds. Removes the record.

    Members of the group that outlive their leader are killed at once. Returns when the ports are free.
    """
    pid = recorded_pid(record)
    if pid is not None:
        _signal_group(pid, signal.SIGTERM)
        _signal_group(pid, signal.SIGCONT)  # a stopped process would not even hear of it
        _gone(record, deadline)
        _signal_group(pid, signal.SIGKILL)  # the leader that would not go, or those that it left behind
        _gone(record, 5.0)
    record.unlink(missing_ok=True)


def end_recorded(deadline: float = 5.0) -> list[Path]:
    """End every process that was recorded, and its group, although the records are gone; where those were.

    SIGTERM to all, and SIGKILL after `deadline` seconds to those that are left.
    """
    until, ended = time.monotonic() + deadline, list(recorded())
    for identity in recorded().values():
        _signal_group(identity.pid, signal.SIGTERM)
        _signal_group(identity.pid, signal.SIGCONT)
    while recorded() and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    for identity in recorded().values():
        _signal_group(identity.pid, signal.SIGKILL)
    return ended


def end_marked(mark: str, deadline: float = 5.0) -> int:
    """Kill every process whose environment holds MARK=`mark`; returns how many there were.

    This reaches what no group or parent leads to any more: filters and backends of a print server that was killed.
    Looks again until none is left, because a process may start another while it is being looked for. Raises
    TimeoutError when some survive the deadline (in uninterruptible sleep, or another user's).
    """
    killed: set[int] = set()
    until = time.monotonic() + deadline
    while found := list(marked(mark)):
        if time.monotonic() > until:
            raise TimeoutError(f"processes {found} carry {MARK}={mark} and can't be ended")
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(POLL_SECONDS)
    return len(killed)


def marked(mark: str) -> Iterator[int]:
    """Ids of the living processes whose environment holds MARK=`mark`, oneself excepted."""
    needle = f"{MARK}={mark}".encode()
    for entry in os.listdir("/proc"):
        pid = int(entry) if entry.isdigit() else os.getpid()
        if pid != os.getpid() and needle in _environment(entry) and identity_of(pid) is not None:
            yield pid


def _dying(pid: int) -> bool:
    """Whether the process won't run its own code again: a SIGKILL awaits it, or the kernel is clearing it away."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        flags = int(stat_fields(pid)[6])
    except OSError:
        return True
    pending = (int(bits, 16) for bits in re.findall(r"^S(?:ig|hd)Pnd:\s*(\w+)", status, re.MULTILINE))
    killed = any(bits >> (signal.SIGKILL - 1) & 1 for bits in pending)
    return killed or bool(flags & _EXITING)


def _set_aside(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name(log.name + ".old"))


def _environment(pid: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it ended, or belongs to somebody else
        return []


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _gone(record: Path, deadline: float) -> None:
    """Wait until the recorded process has ended, or the deadline has passed."""
    until = time.monotonic() + deadline
    while recorded_pid(record) is not None and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
