"""IPP requests to one print server, with a deadline that covers the whole exchange.

pyipp encodes the requests. Its tag map lacks some attributes and would drop them without a word; here the map is
completed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from typing import Any

from pyipp.enums import IppOperation, IppTag
from pyipp.serializer import encode_dict
from pyipp.tags import ATTRIBUTE_TAG_MAP

from probes import reading, wire
from probes.errors import Overdue, Refused
from probes.http import Connection as Connection
from probes.http import Server as Server
from probes.reading import Reading
from probes.wire import Answer, Attributes

for _name, _tag in {
    "limit": IppTag.INTEGER,
    "first-job-id": IppTag.INTEGER,
    "notify-subscription-ids": IppTag.INTEGER,
    "notify-events": IppTag.KEYWORD,
    "notify-pull-method": IppTag.KEYWORD,
    "purge-job": IppTag.BOOLEAN,
}.items():
    ATTRIBUTE_TAG_MAP.setdefault(_name, _tag)

PAGE = 500
"""Jobs that CUPS gives at most in one answer about finished ones."""
NOT_FOUND = 0x0406
_CHARSET = {"attributes-charset": "utf-8", "attributes-natural-language": "en"}


def encode(
    operation: IppOperation,
    user: str,
    attributes: Mapping[str, Any],
    queue: str = "",
    data: bytes = b"",
    job: Mapping[str, Any] | None = None,
) -> bytes:
    """A request. queue: the name it is for, '' for the server as a whole. job: attributes of the job itself."""
    target = {"printer-uri": f"ipp://localhost/printers/{queue}" if queue else "ipp://localhost/"}
    message: dict[str, Any] = {
        "version": (2, 0),
        "operation": operation,
        "request-id": 1,
        "operation-attributes-tag": {**_CHARSET, **target, "requesting-user-name": user, **attributes},
        "data": data,
    }
    if job:
        message["job-attributes-tag"] = dict(job)
    return bytes(encode_dict(message))


def queues_request(user: str) -> bytes:
    return encode(IppOperation.CUPS_GET_PRINTERS, user, {"requested-attributes": list(reading.QUEUE_ATTRIBUTES)})


def open_jobs_request(user: str) -> bytes:
    """CUPS answers with all open jobs at once; its limit of 500 concerns finished ones."""
    wanted = {"which-jobs": "not-completed", "requested-attributes": list(reading.JOB_ATTRIBUTES)}
    return encode(IppOperation.GET_JOBS, user, wanted)


async def ask(connection: Connection, request: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """Send an encoded request; returns the answer if it is a success, or 'not found' (as an empty answer).

    Has no deadline: wrap it in asyncio.timeout. Raises Unreachable, Refused, Unintelligible.
    """
    status, body = await connection.post(request, headers)
    if status != 200:
        raise Refused(f"{connection.server} answers with HTTP status {status}")
    answer = wire.decode(body)
    if answer.status >= 0x0200 and answer.status != NOT_FOUND:
        raise Refused(f"{connection.server} refuses with IPP status {answer.status:#06x}", answer.status)
    return answer


async def look(server: Server, requests: tuple[bytes, bytes], node: str) -> Reading:
    """One reading: queues, then open jobs, on one connection. Raises as `ask` does."""
    begun = time.monotonic()
    with closing(Connection(server)) as connection:
        queues = await ask(connection, requests[0])
        jobs = await ask(connection, requests[1])
    now = time.monotonic()
    return reading.succeeded(node, now, now - begun, queues.of(wire.PRINTER_GROUP), jobs.of(wire.JOB_GROUP))


async def finished_jobs(
    connection: Connection, attributes: tuple[str, ...], first_id: int = 1
) -> AsyncIterator[Attributes]:
    """All jobs from `first_id` on in the order of their ids, as attributes; the finished ones among them.

    Pages through which-jobs=all: `completed` is newest first, so that its pages shift while one reads them.
    """
    while True:
        wanted = {
            "which-jobs": "all",
            "limit": PAGE,
            "first-job-id": first_id,
            "requested-attributes": ["job-id", "job-state", *attributes],
        }
        answer = await ask(connection, encode(IppOperation.GET_JOBS, connection.server.user, wanted))
        page = answer.of(wire.JOB_GROUP)
        for one in page:
            if wire.number(one, "job-state") >= 7:
                yield one
        if len(page) < PAGE:
            return
        first_id = wire.number(page[-1], "job-id") + 1


def question(server: Server, request: bytes, deadline: float, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask once, from ordinary code. deadline: seconds for everything. Raises Overdue, and as `ask` does."""

    async def once() -> Answer:
        with closing(Connection(server)) as connection:
            async with asyncio.timeout(deadline):
                return await ask(connection, request, headers)

    try:
        return asyncio.run(once())
    except TimeoutError:
        raise Overdue(f"{server} did not answer within {deadline:g} s") from None
