"""The one folder that holds everything a running fleet owns. Delete it and start anew."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from machine.files import replace_file

SPACE_NEEDED = 64 * 2**20
"""Bytes that must be free before a fleet is started."""
LOCK_PATIENCE = 1.0
"""Seconds to try for the lock: whoever asks for the controller's process id shares it for a moment."""


class StateError(Exception):
    """The state folder can't be used; the message says why and what to do."""


class AlreadyRuns(StateError):
    """Another controller holds the folder; the message names its process."""


@dataclass(frozen=True)
class State:
    """Where each thing lies below the state folder."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "cupsfleet.db"

    @property
    def users(self) -> Path:
        return self.folder / "users"

    @property
    def passwords(self) -> Path:
        return self.folder / "passwords"

    @property
    def certificate(self) -> Path:
        return self.folder / "tls" / "door.pem"

    @property
    def nodes(self) -> Path:
        return self.folder / "nodes"

    @property
    def printed(self) -> Path:
        return self.folder / "printed"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def processes(self) -> Path:
        """Records of the helper processes: dashboard, virtual printers."""
        return self.folder / "processes"

    def proxy(self, number: int) -> Path:
        """The folder of the proxy with this number, counted from 1."""
        return self.folder / f"proxy-{number}"

    def secret(self) -> str:
        """What the proxy shows to the dashboard. Made once, readable by the owner only."""
        path = self.folder / "secret"
        if not path.exists():
            replace_file(path, secrets.token_urlsafe(32))
        return path.read_text()

    def prepare(self) -> None:
        """Make the folder and prove that it can be written. Raises StateError."""
        try:
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            for folder in (self.nodes, self.printed, self.logs, self.processes, self.certificate.parent):
                folder.mkdir(exist_ok=True)
            replace_file(self.folder / ".writable", "x")
            (self.folder / ".writable").unlink()
        except OSError as error:
            raise StateError(
                f"the state folder {self.folder} can't be written: {_why(error)}; "
                "free or allow space there, or choose another one with --state"
            ) from None

    def ask_for_room(self) -> None:
        """Raise StateError when there is too little space to start a fleet."""
        if lacking := self.lacks_room():
            raise StateError(f"{lacking}, or choose another one with --state")

    def lacks_room(self) -> str:
        """What to do about too little space, as a sentence without its full stop; '' when there is enough."""
        free = shutil.disk_usage(self.folder).free
        if free >= SPACE_NEEDED:
            return ""
        return (
            f"the state folder {self.folder} has {free // 2**20} MB left and spools need room, at least "
            f"{SPACE_NEEDED // 2**20} MB; free space there"
        )

    def exists(self) -> bool:
        return self.database.is_file()

    def lock(self) -> int:
        """Become the one controller of this folder; held until the process ends. Raises AlreadyRuns when taken."""
        handle = os.open(self.folder / "controller.lock", os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + LOCK_PATIENCE
        while not _locked(handle, fcntl.LOCK_EX):
            if time.monotonic() > until:
                os.close(handle)
                raise self.already_runs()
            time.sleep(0.02)
        os.pwrite(handle, f"{os.getpid():<20}".encode(), 0)  # at once: a reader sees one number or the other
        return handle

    def keeps(self, lock: int) -> bool:
        """Whether the lock file is still the one that was locked; it is not when somebody has deleted the folder."""
        try:
            return os.path.samestat(os.fstat(lock), os.stat(self.folder / "controller.lock"))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def already_runs(self) -> AlreadyRuns:
        """What to say to a second controller."""
        return AlreadyRuns(
            f"a controller already runs for {self.folder}, process {self.controller() or 'unknown'}; see it with: "
            f"cupsfleet status --state {self.folder}, end it with: cupsfleet down --state {self.folder}"
        )

    def controller(self) -> int | None:
        """Process id of the controller that holds the lock; None when there is none."""
        try:
            handle = os.open(self.folder / "controller.lock", os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if _locked(handle, fcntl.LOCK_SH):
                return None
            text = os.pread(handle, 32, 0).strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(handle)


def _why(error: OSError) -> str:
    """What stood in the way."""
    return f"{error.filename} is a file" if isinstance(error, FileExistsError) else error.strerror or str(error)


def _locked(handle: int, kind: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
        return True
    return False
