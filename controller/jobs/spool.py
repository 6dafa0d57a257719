"""Jobs as they lie on disk: the spool of a CUPS server that does not run, or whose jobs don't move meanwhile.

A job is a control file cNNNNN (an IPP message with all its attributes) and documents dNNNNN-001 … beside it. What type
a document has, and whether it was sent compressed, only CacheDir/job.cache knows (CUPS 2.4, scheduler/job.c:
cupsdSaveJob, cupsdSaveAllJobs; RFC 8010 for the message).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from controller.jobs.original import Document, Original, carried
from controller.jobs.table import ATTRIBUTES, Job, from_attributes
from controller.nodes import ids
from probes import wire
from probes.attributes import Attributes, text

_ENTRY = re.compile(r"^\s*<Job\s+(?P<id>\d+)\s*>(?P<body>.*?)^\s*</Job>", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^\s*File\s+(\d+)\s+(\S+/\S+)\s+(\d+)", re.IGNORECASE | re.MULTILINE)
_ASIDE = "moved-"
"""Before the name of a control file whose job lives elsewhere now; cupsd reads only what begins with c."""


class SpoolError(Exception):
    """A spool, or a job in it, can't be read; the message says which and why."""


@dataclass(frozen=True)
class Spool:
    """The spool of one node. folder: the node's own, with spool/ and cache/ in it."""

    folder: Path

    def jobs(self, node: str, after: int = 0, lately: float = 0.0) -> tuple[list[Job], list[int]]:
        """Every job that has a control file, ended ones too, and the ids of those that can't be read.

        after: only those with a higher id, and those that changed so many seconds before the last change of all or
        later. Raises SpoolError when the spool as a whole can't be read.
        """
        found, broken = [], []
        changes = self._changes()
        early = max(changes.values(), default=0) - int(lately * 1e9)
        for number, changed in sorted(changes.items()):
            if number <= after and changed <= early:
                continue
            try:
                found.append(self.job(node, number))
            except SpoolError:
                broken.append(number)
        return found, broken

    def job(self, node: str, number: int) -> Job:
        """One job as its control file has it. Raises SpoolError."""
        return from_attributes(node, _decoded(self._control(number)))

    def read(self, number: int) -> Original:
        """A job with its documents. Raises SpoolError."""
        attributes = self._control(number)
        known = _decoded(attributes)
        formats = self._formats(number)
        paths = self._documents(number)
        fallback = ("application/octet-stream", False)
        return Original(
            uuid=text(known, "job-uuid"),
            id=number,
            queue=text(known, "job-printer-uri").rsplit("/", 1)[-1],
            owner=text(known, "job-originating-user-name"),
            hold=text(known, "job-hold-until"),
            **carried(attributes),
            documents=tuple(Document(path, *formats.get(place, fallback)) for place, path in enumerate(paths, 1)),
        )

    def set_aside(self, number: int) -> None:
        """Make the server forget the job; doing it twice is no error. Raises SpoolError."""
        for path in self._controls(number):
            try:
                path.rename(path.with_name(_ASIDE + path.name))
            except FileNotFoundError:
                pass
            except OSError as error:
                raise SpoolError(f"{path} can't be set aside: {error.strerror}") from None

    def _changes(self) -> dict[int, int]:
        """When each job's control file was written, in nanoseconds."""
        try:
            return ids.control_files(self.folder / "spool")
        except OSError as error:
            raise SpoolError(f"the spool {self.folder / 'spool'} can't be read: {error.strerror}") from None

    def _controls(self, number: int) -> list[Path]:
        """The control file, then what is left when the server died while it replaced it (cups/file.c)."""
        name = f"c{number:05d}"
        return [self.folder / "spool" / (name + suffix) for suffix in ("", ".O", ".N")]

    def _control(self, number: int) -> list[wire.Attribute]:
        problem = f"job {number} has no control file in {self.folder / 'spool'}"
        for path in self._controls(number):
            try:
                message = wire.split(path.read_bytes())
                return [one for group in message.groups for one in wire.attributes(group.raw)]
            except FileNotFoundError:
                continue
            except OSError as error:
                problem = f"{path} can't be read: {error.strerror}"
            except wire.Malformed as error:
                problem = f"{path} is no control file: {error}"
        raise SpoolError(problem)

    def _documents(self, number: int) -> list[Path]:
        place, found = 1, []
        while (path := self.folder / "spool" / f"d{number:05d}-{place:03d}").is_file():
            found.append(path)
            place += 1
        return found

    def _formats(self, number: int) -> dict[int, tuple[str, bool]]:
        """MIME type of each document by its place, and whether it is compressed."""
        try:
            cache = (self.folder / "cache" / "job.cache").read_text(errors="surrogateescape")
        except OSError:
            return {}
        body = next((entry["body"] for entry in _ENTRY.finditer(cache) if int(entry["id"]) == number), "")
        return {int(place): (kind, packed != "0") for place, kind, packed in _FILE.findall(body)}


def _decoded(attributes: list[wire.Attribute]) -> Attributes:
    """What the table of jobs wants to know, in the form that the prober gives it."""
    wanted = {*ATTRIBUTES, "job-hold-until"}
    found: Attributes = {}
    for one in attributes:
        name = one.name.decode(errors="replace")
        if name in wanted:
            values = [_value(tag, value) for tag, value in one.values]
            found[name] = values[0] if len(values) == 1 else values
    return found


def _value(tag: int, value: bytes) -> int | str | None:
    if tag in (wire.INTEGER, wire.ENUM):
        return int.from_bytes(value, "big", signed=True)
    return None if tag < 0x20 else value.decode(errors="replace")
