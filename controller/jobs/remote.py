"""What moving a job asks of a running server. Each call has a deadline and raises ProbeError.

Requests that carry a client's attributes are put together from their bytes, since a library that decodes them would
drop what it does not know; all others go through probes.ipp.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyipp.enums import IppOperation

from controller.jobs.original import INDEFINITE, Document, Original, carried
from controller.jobs.table import IPP_STATES
from controller.nodes.settings import is_loopback
from probes import ipp, wire
from probes.attributes import number, text, texts
from probes.errors import Overdue, ProbeError, Refused, Unintelligible, Unreachable

DEADLINE = 15.0
"""Seconds for an answer; a document may take longer, as long as it goes on."""
_CREATE_JOB, _SEND_DOCUMENT, _GET_JOB_ATTRIBUTES, _HOLD_JOB, _GET_DOCUMENT = 0x0005, 0x0006, 0x0009, 0x000C, 0x4027
_MIME = 0x49
_VERSION = b"\x02\x00"
_PIECE = 1 << 18


@dataclass(frozen=True)
class Standing:
    """Where a job stands at a server."""

    id: int
    uuid: str
    state: str
    """As in controller.jobs.table."""
    owner: str
    hold: str
    documents: int
    incoming: bool
    """It still waits for documents."""
    size_kb: int
    """job-k-octets: what its documents take, each rounded up."""


def standing(server: ipp.Server, job: int) -> Standing | None:
    """None when the server does not know the job."""
    wanted = [
        "job-id",
        "job-uuid",
        "job-state",
        "job-state-reasons",
        "job-originating-user-name",
        "job-hold-until",
        "number-of-documents",
        "job-k-octets",
    ]
    request = ipp.Request(IppOperation.GET_JOB_ATTRIBUTES, {"job-id": job, "requested-attributes": wanted})
    jobs = ipp.question(server, request, DEADLINE)["jobs"]
    if not jobs or not number(jobs[0], "job-id"):
        return None
    said = jobs[0]
    return Standing(
        id=number(said, "job-id"),
        uuid=text(said, "job-uuid"),
        state=IPP_STATES.get(number(said, "job-state"), ""),
        owner=text(said, "job-originating-user-name"),
        hold=text(said, "job-hold-until"),
        documents=number(said, "number-of-documents"),
        incoming="job-incoming" in texts(said, "job-state-reasons"),
        size_kb=number(said, "job-k-octets"),
    )


def find(server: ipp.Server, uuid: str) -> Standing | None:
    """The open job with this uuid, if the server has one."""
    jobs = ipp.question(server, ipp.OPEN_JOBS, DEADLINE)["jobs"]
    ids = (number(said, "job-id") for said in jobs if text(said, "job-uuid") == uuid)
    return next((found for one in ids if (found := standing(server, one))), None)


def hold(server: ipp.Server, job: int, until: str = INDEFINITE) -> None:
    """Hold a job that is not finished. until: a keyword, or a time of day."""
    tag = wire.NAME if until[:1].isdigit() else wire.KEYWORD
    said = wire.attribute(wire.INTEGER, "job-id", job) + wire.attribute(tag, "job-hold-until", until)
    _exchange(server, _HOLD_JOB, more=said)


def release(server: ipp.Server, job: int) -> None:
    """Let a held job print; one that is not held any more was released already."""
    with suppress(Refused):
        free(server, job)


def free(server: ipp.Server, job: int) -> None:
    """As `release`, and raises Refused when it may not be or is not held."""
    _told(server, IppOperation.RELEASE_JOB, job, {})


def cancel(server: ipp.Server, job: int, purge: bool = False) -> None:
    """Cancel a job; one that has ended already is left so. purge: forget it altogether."""
    with suppress(Refused):
        end(server, job, purge)


def end(server: ipp.Server, job: int, purge: bool = False) -> None:
    """As `cancel`, and raises Refused when it may not be or has ended."""
    _told(server, IppOperation.CANCEL_JOB, job, {"purge-job": True} if purge else {})


def _told(server: ipp.Server, operation: IppOperation, job: int, more: dict[str, object]) -> None:
    ipp.question(server, ipp.Request(operation, {"job-id": job, **more}), DEADLINE)


def copy(server: ipp.Server, original: Original) -> int:
    """Make the job again, held, under its own uuid; returns its new id. `server.user` is its owner.

    A copy that is made half only stays held; `find` sees it by its uuid.
    """
    held = wire.attribute(wire.KEYWORD, "job-hold-until", INDEFINITE)
    named = wire.attribute(wire.URI, "job-uuid", original.uuid)
    # Its cover pages are documents of the copy; the server must not add others.
    plain = wire.attribute(wire.NAME, "job-sheets", "none")
    options = bytes([wire.JOB]) + original.options + named + held + plain
    answer = _exchange(server, _CREATE_JOB, original.queue, original.request, options)
    job = _job_id(answer, server)
    for place, document in enumerate(original.documents, 1):
        _send(server, original, job, document, last=place == len(original.documents))
    return job


def _send(server: ipp.Server, original: Original, job: int, document: Document, last: bool) -> None:
    said = [
        wire.attribute(wire.INTEGER, "job-id", job),
        wire.attribute(_MIME, "document-format", document.format),
        wire.attribute(wire.BOOLEAN, "last-document", int(last)),
    ]
    if document.compressed:
        said.append(wire.attribute(wire.KEYWORD, "compression", "gzip"))
    _exchange(server, _SEND_DOCUMENT, original.queue, b"", b"", b"".join(said), document.path)


def fetch(server: ipp.Server, job: int, folder: Path) -> Original:
    """A job of a server whose files are not at hand, its documents written to `folder`."""
    asked = wire.attribute(wire.INTEGER, "job-id", job)
    answer = _exchange(server, _GET_JOB_ATTRIBUTES, more=asked)
    attributes = [one for group in answer.of(wire.JOB) for one in wire.attributes(group.raw)]
    known = {one.name.decode(errors="replace"): one.values[0][1] for one in attributes}
    count = int.from_bytes(known.get("number-of-documents", b""), "big")
    documents = tuple(_document(server, job, place, folder) for place in range(1, count + 1))
    said = {name: known.get(name, b"").decode(errors="replace") for name in _TEXTS}
    language = [group.raw[1:] for group in answer.of(wire.OPERATION)]
    parts = carried(attributes)
    return Original(
        uuid=said["job-uuid"],
        id=job,
        queue=said["job-printer-uri"].rsplit("/", 1)[-1],
        owner=said["job-originating-user-name"],
        hold=said["job-hold-until"],
        request=b"".join(language[:1]) + parts["request"],
        options=parts["options"],
        documents=documents,
    )


_TEXTS = ("job-uuid", "job-printer-uri", "job-originating-user-name", "job-hold-until")


def _document(server: ipp.Server, job: int, place: int, folder: Path) -> Document:
    """CUPS-Get-Document. It does not tell compressed files; a gzip file that should be something else is one."""
    which = wire.attribute(wire.INTEGER, "job-id", job) + wire.attribute(wire.INTEGER, "document-number", place)
    answer = _exchange(server, _GET_DOCUMENT, more=which)
    found = [one for group in answer.of(wire.JOB) for one in wire.attributes(group.raw)]
    kinds = [one.values[0][1].decode(errors="replace") for one in found if one.name == b"document-format"]
    kind = kinds[0] if kinds else "application/octet-stream"
    path = folder / f"{place:03d}"
    path.write_bytes(answer.data)
    return Document(path, kind, answer.data[:2] == b"\x1f\x8b" and "gzip" not in kind)


def _job_id(answer: wire.Message, server: ipp.Server) -> int:
    for group in answer.of(wire.JOB):
        for one in wire.attributes(group.raw):
            if one.name == b"job-id":
                return one.integers()[0]
    raise ProbeError(f"{server} took a job and gave it no id")


def _exchange(
    server: ipp.Server,
    operation: int,
    queue: str = "",
    request: bytes = b"",
    options: bytes = b"",
    more: bytes = b"",
    document: Path | None = None,
) -> wire.Message:
    """request: attributes of the operation that begin with the charset; '' for the usual ones. more: further ones."""
    place = f"printers/{queue}" if queue else ""
    target = wire.attribute(wire.URI, "printer-uri", f"ipp://localhost/{place}")
    user = wire.attribute(wire.NAME, "requesting-user-name", server.user)
    head, named = _split_language(request)
    group = bytes([wire.OPERATION]) + head + target + user + named + more
    body = wire.message(_VERSION, operation, 1, [group, options] if options else [group])
    try:
        answer = wire.split(_post(server, body, document))
    except wire.Malformed as error:
        raise Unintelligible(f"{server} does not answer in IPP: {error}") from None
    if answer.code >= 0x0200:
        raise Refused(f"{server} refuses with IPP status {answer.code:#06x}", answer.code)
    return answer


_USUAL = wire.attribute(0x47, "attributes-charset", "utf-8") + wire.attribute(
    0x48, "attributes-natural-language", "en-us"
)


def _split_language(request: bytes) -> tuple[bytes, bytes]:
    """Charset and language, which come first, and what a request says after its target."""
    every = wire.attributes(bytes([wire.OPERATION]) + request)
    first = b"".join(one.raw for one in every if one.name.startswith(b"attributes-"))
    return first or _USUAL, b"".join(one.raw for one in every if not one.name.startswith(b"attributes-"))


def _post(server: ipp.Server, head: bytes, document: Path | None) -> bytes:
    connection = _connection(server)
    size = len(head) + (document.stat().st_size if document else 0)
    headers = {"Content-Type": "application/ipp", "Content-Length": str(size)}
    if is_loopback(server.host):  # cupsd takes no other name from a peer on loopback
        headers["Host"] = f"localhost:{server.port}"
    try:
        connection.request("POST", "/", _pieces(head, document), headers)
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError:
        raise Overdue(f"{server} did not answer within {DEADLINE:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{server}: {error}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise Refused(f"{server} answers with HTTP status {answer.status}")
    return body


def _connection(server: ipp.Server) -> http.client.HTTPConnection:
    if not server.tls:
        return http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE)
    context = ssl.create_default_context()
    if not server.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(server.host, server.port, timeout=DEADLINE, context=context)


def _pieces(head: bytes, document: Path | None) -> Iterator[bytes]:
    yield head
    if document:
        with document.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
