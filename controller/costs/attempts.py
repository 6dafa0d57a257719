"""Attempts to print a job, put together from a node's journal (controller.costs.journal)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controller.costs.count import MOST_PAGES, Count, from_plain, unknown


@dataclass(frozen=True)
class Attempt:
    run: str
    uuid: str
    job: int = 0
    user: str = ""
    queue: str = ""
    title: str = ""
    driver: bool = False
    """Whether the queue has a driver, so that options of the job concern what was printed."""
    options: Mapping[str, str] = field(default_factory=dict)
    separately: int = 0
    """How many documents the job has, if each is an attempt of its own; else 0."""
    begun: float = 0.0
    """Seconds since 1970, as `ended`."""
    ended: float = 0.0
    """0 while it is under way, or when its backend was killed."""
    whole: bool = False
    """The real backend says that all was printed."""
    share: float = 0.0
    """How much of the document the real backend had taken when it was last looked at."""
    reported: int = 0
    """Pages by the printer's own word, 0 for none."""
    copies: int = 1
    count: Count | None = None
    """None while it is counted."""
    held: str = ""
    """Why the job was held before anything was sent (controller.costs.quota), '' when it was not."""

    @property
    def known(self) -> Count:
        return self.count or unknown("the backend was killed before it had counted")


def put_together(records: Iterable[Mapping[str, Any]], known: Mapping[str, Attempt]) -> dict[str, Attempt]:
    """The attempts, by run, that these records begin or change. known: what earlier records of the journal made.

    What is no record of ours, or belongs to no attempt, is passed over: a journal must never stop the others.
    """
    changed: dict[str, Attempt] = {}
    for record in records:
        run = record["run"]
        before = changed.get(run) or known.get(run)
        try:
            made = _first(record) if record.get("event") in ("begin", "held") else before and _advanced(before, record)
        except (KeyError, TypeError, ValueError):
            continue
        if made:
            changed[run] = made
    return changed


def _begun(record: Mapping[str, Any]) -> Attempt:
    return Attempt(
        run=record["run"],
        uuid=_text(record["uuid"]),
        job=int(record["job"]),
        user=_text(record["user"]),
        queue=_text(record["queue"]),
        title=_text(record["title"]),
        driver=bool(record["driver"]),
        options={str(name): str(value) for name, value in record["options"].items()},
        separately=int(record["separately"]),
        begun=float(record["at"]),
        copies=int(record.get("copies", 1)),
        count=_count(record),
    )


def _count(record: Mapping[str, Any], before: Count | None = None) -> Count | None:
    return from_plain(record["count"]) if record.get("count") else before


def _text(value: object) -> str:
    """As it can be written into a database: a user's bytes that are no UTF-8 came as halves of surrogate pairs."""
    return str(value).encode("utf-8", "replace").decode()


def _possible(pages: int) -> int:
    """0, which is "not said", for what no printer has printed."""
    return pages if 0 <= pages <= MOST_PAGES else 0


def _first(record: Mapping[str, Any]) -> Attempt:
    begun = _begun(record)
    return replace(begun, ended=begun.begun, held=str(record["reason"])) if record["event"] == "held" else begun


def _advanced(before: Attempt, record: Mapping[str, Any]) -> Attempt:
    made = replace(before, count=_count(record, before.count), share=float(record.get("share", before.share)))
    if record["event"] != "end":
        return made
    return replace(
        made,
        ended=float(record["at"]),
        whole=bool(record["whole"]),
        reported=_possible(int(record["reported"])),
        copies=int(record.get("copies", before.copies)),  # where journals of before have it
    )
