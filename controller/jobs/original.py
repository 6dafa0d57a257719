"""A job as it has to be made again on another server: the same owner, options, name, uuid and documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from probes import wire

INDEFINITE = "indefinite"
"""job-hold-until of a job that waits to be released (RFC 8011, 5.2.2)."""
_SAID_BY_THE_REQUEST = {"attributes-charset", "attributes-natural-language", "job-name"}
"""Of what a client said beside its options; the rest (printer-uri, the document's format …) is said anew."""
_SAID_BY_THE_SERVER = {
    "compression",
    "copies-actual",
    "date-time-at-completed",
    "date-time-at-creation",
    "date-time-at-processing",
    "document-format",
    "document-format-detected",
    "document-format-supplied",
    "document-name",
    "document-name-supplied",
    "ipp-attribute-fidelity",
    "job-detailed-status-messages",
    "job-document-access-errors",
    "job-hold-until",
    "job-id",
    "job-impressions",
    "job-impressions-completed",
    "job-k-octets",
    "job-k-octets-completed",
    "job-media-progress",
    "job-media-sheets",
    "job-media-sheets-completed",
    "job-more-info",
    "job-originating-user-name",
    "job-pages-completed",
    "job-preserved",
    "job-printer-state-message",
    "job-printer-state-reasons",
    "job-printer-up-time",
    "job-printer-uri",
    "job-sheets",
    "job-state",
    "job-state-message",
    "job-state-reasons",
    "job-uri",
    "job-uuid",
    "last-document",
    "number-of-documents",
    "number-of-intervening-jobs",
    "output-device-assigned",
    "printer-uri",
    "requesting-user-name",
    "requesting-user-uri",
    "time-at-completed",
    "time-at-creation",
    "time-at-processing",
}
"""Attributes of a job that are not its client's wish (CUPS 2.4, add_job in scheduler/ipp.c), and those that are given
in another way: owner, uuid and hold, and its cover pages, which lie among its documents already."""


@dataclass(frozen=True)
class Document:
    """A file as its server keeps it."""

    path: Path
    format: str
    """MIME type as the server knows it."""
    compressed: bool
    """Sent with compression=gzip, and stored so."""

    @property
    def size_kb(self) -> int:
        """As cupsd counts it into job-k-octets (CUPS 2.4, send_document in scheduler/ipp.c)."""
        return -(-self.path.stat().st_size // 1024)


@dataclass(frozen=True)
class Original:
    """What has to come along. `request` and `options` are encoded attributes (RFC 8010)."""

    uuid: str
    id: int
    queue: str
    owner: str
    hold: str
    """job-hold-until; `no-hold` for one that may print at any time."""
    request: bytes
    """Attributes of the operation: charset, language, job-name."""
    options: bytes
    """Attributes of the job: copies, sides, media, priority …, as they were sent or set by the queue's defaults."""
    documents: tuple[Document, ...]

    @property
    def held(self) -> bool:
        return self.hold not in ("", "no-hold")


class Carried(TypedDict):
    request: bytes
    options: bytes


def carried(attributes: Iterable[wire.Attribute]) -> Carried:
    """What of a job's attributes is said again when it is made anew."""
    request, options = [], []
    for one in attributes:
        name = one.name.decode(errors="replace")
        if name in _SAID_BY_THE_REQUEST:
            request.append(one.raw)
        elif name not in _SAID_BY_THE_SERVER:
            options.append(one.raw)
    # RFC 8010, 3.1.4: charset first, language second.
    order = {b"attributes-charset": 0, b"attributes-natural-language": 1}
    request.sort(key=lambda raw: order.get(raw[3 : 3 + int.from_bytes(raw[1:3], "big")], 2))
    return {"request": b"".join(request), "options": b"".join(options)}
