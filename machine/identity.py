"""Who a process is, written down so that another program finds it again. Linux only.

A record names the process by its id *and* by the tick of the kernel's clock at which it started (field 22 of
/proc/PID/stat), so that neither a reused id nor a changed wall clock can make a stranger look like ours.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from machine.files import replace_file

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Programs started by this process. They are asked for their state now and then, so that none stays a zombie."""
_recorded: dict[Path, Identity] = {}
"""Whom this process has found recorded or has recorded, by record: it can find them when the records are gone."""


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
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        _children.pop(pid, None)  # two threads may ask at once
    try:
        fields = stat_fields(pid)
    except OSError:
        return None
    return None if fields[0] in "ZX" else Identity(pid, int(fields[19]), boot_id())


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; the name before them may hold blanks and brackets. Raises
    OSError."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def boot_id() -> str:
    """Names the time since the machine was started: ids and ticks of an earlier one mean nothing now."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_detached(
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that it survives whoever started it. Raises OSError.

    Standard output and error are added to `log`; standard input is empty.
    """
    with log.open("ab") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
        )
    _children[child.pid] = child
    return child


def write_record(record: Path, pid: int) -> None:
    """Write down who has this pid now, unless nobody has. Raises OSError."""
    if identity := identity_of(pid):
        replace_file(record, json.dumps(asdict(identity)))
        _recorded[record] = identity


def read_record(record: Path) -> Identity | None:
    """Whom the record names, alive or not; None for a missing or broken one."""
    try:
        identity = Identity(**json.loads(record.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    _recorded[record] = identity
    return identity


def recorded() -> dict[Path, Identity]:
    """Those that live of all that this process has found recorded or has recorded, by record."""
    for record, identity in list(_recorded.items()):
        if not identity.alive():
            _recorded.pop(record, None)  # two threads may look at once
    return dict(_recorded)
