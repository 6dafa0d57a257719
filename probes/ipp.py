"""IPP requests to one print server, with a deadline that covers the whole exchange.

pyipp encodes, sends (through aiohttp) and decodes. Three things are added to it here: tags of attributes that it would
drop without a word, a parser that always ends, and errors that say which server, and what to think of it.

A decoder and an HTTP client of our own would make a sweep faster (1,000 nodes, both requests, one core: 0.5 s without
pyipp's decoder, 0.3 s without aiohttp either, 0.7 s as it is), but 1,000 nodes a second are enough.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiohttp
import pyipp.parser
from pyipp import IPP
from pyipp.enums import IppOperation, IppTag
from pyipp.exceptions import IPPConnectionError, IPPConnectionUpgradeRequired, IPPResponseError
from pyipp.tags import ATTRIBUTE_TAG_MAP

from probes import reading
from probes.attributes import Attributes, number
from probes.errors import Overdue, Refused, Unintelligible, Unreachable
from probes.reading import Reading

for _name, _tag in {
    "limit": IppTag.INTEGER,
    "first-job-id": IppTag.INTEGER,
    "notify-subscription-ids": IppTag.INTEGER,
    "notify-events": IppTag.KEYWORD,
    "notify-pull-method": IppTag.KEYWORD,
    "purge-job": IppTag.BOOLEAN,
}.items():
    ATTRIBUTE_TAG_MAP.setdefault(_name, _tag)

# Its parser logs some ten lines for every attribute.
logging.getLogger("pyipp").setLevel(logging.WARNING)

PAGE = 500
"""Jobs that CUPS gives at most in one answer about finished ones."""
GOODBYE = 0.05
"""Seconds for the end of a TLS connection that the server closed; aiohttp would leave it to the garbage collector."""
NOT_FOUND = 0x0406
_NO_PRINT_SERVER = (404, 405, 501)
"""HTTP statuses of servers that know no printing; CUPS gives others."""

Answer: TypeAlias = dict[str, Any]
"""pyipp's: `printers` and `jobs` (a list of Attributes each), `status-code`, and `data` after the attributes."""


@dataclass(frozen=True)
class Server:
    """Where and as whom. verify: check the certificate against the system's authorities (TLS only)."""

    host: str
    port: int
    user: str
    tls: bool = False
    verify: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Request:
    """An operation on a queue, or with queue '' on the server as a whole. job: attributes of the job itself."""

    operation: IppOperation
    attributes: Mapping[str, Any] = field(default_factory=dict)
    queue: str = ""
    data: bytes = b""
    job: Mapping[str, Any] = field(default_factory=dict)

    def message(self, user: str) -> dict[str, Any]:
        """As pyipp wants it, which fills in the version and the charset."""
        target = f"ipp://localhost/printers/{self.queue}" if self.queue else "ipp://localhost/"
        operation = {"printer-uri": target, "requesting-user-name": user, **self.attributes}
        job = {"job-attributes-tag": dict(self.job)} if self.job else {}
        return {"operation-attributes-tag": operation, "data": self.data, **job}


QUEUES = Request(IppOperation.CUPS_GET_PRINTERS, {"requested-attributes": list(reading.QUEUE_ATTRIBUTES)})
OPEN_JOBS = Request(
    # CUPS answers with all open jobs at once; its limit of 500 concerns finished ones.
    IppOperation.GET_JOBS,
    {"which-jobs": "not-completed", "requested-attributes": list(reading.JOB_ATTRIBUTES)},
)

DEFAULT = Request(IppOperation.CUPS_GET_DEFAULT, {"requested-attributes": ["printer-name"]})
"""The cheapest question that every CUPS server answers, if only with 'not found'."""


def session(headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """What `ask` needs; close it (`async with`). Its connections stay open, and each question has its own deadline."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
        timeout=aiohttp.ClientTimeout(total=None),
        headers=headers,
    )


async def ask(http: aiohttp.ClientSession, server: Server, request: Request) -> Answer:
    """Send a request; returns the answer if it is a success, or 'not found' (as an empty answer).

    Has no deadline: wrap it in asyncio.timeout. Raises Unreachable, Refused, Unintelligible.
    """
    return await _exchange(_client(http, server), server, request)


def _client(http: aiohttp.ClientSession, server: Server) -> IPP:
    return IPP(
        server.host,
        port=server.port,
        base_path="/",
        tls=server.tls,
        verify_ssl=server.verify,
        session=http,
        request_timeout=None,  # its own would not cover the body of the answer
    )


async def _exchange(client: IPP, server: Server, request: Request) -> Answer:
    try:
        body = await client.raw(request.operation, request.message(server.user))
    except IPPConnectionUpgradeRequired:
        raise Refused(f"{server} insists on TLS") from None
    except IPPResponseError as error:
        status = error.args[1]["status-code"]
        kind = Unintelligible if status in _NO_PRINT_SERVER else Refused
        raise kind(f"{server} answers with HTTP status {status}") from None
    except (IPPConnectionError, aiohttp.ClientError, OSError, ValueError) as error:
        raise _broken(server, error.__cause__ or error) from None
    answer = decode(body, server)
    status = answer["status-code"] & 0xFFFF
    if status >= 0x0200 and status != NOT_FOUND:
        raise Refused(f"{server} refuses with IPP status {status:#06x}", status)
    return answer


async def look(http: aiohttp.ClientSession, server: Server, node: str) -> Reading:
    """One reading: queues, then open jobs. Raises as `ask` does."""
    begun = time.monotonic()
    client = _client(http, server)
    queues = await _exchange(client, server, QUEUES)
    jobs = await _exchange(client, server, OPEN_JOBS)
    now = time.monotonic()
    return reading.succeeded(node, now, now - begun, queues["printers"], jobs["jobs"])


async def all_jobs(
    http: aiohttp.ClientSession, server: Server, attributes: tuple[str, ...], first_id: int = 1
) -> AsyncIterator[Attributes]:
    """All jobs from `first_id` on in the order of their ids, open and finished ones, with these attributes.

    Pages through which-jobs=all: `completed` is newest first, so that its pages shift while one reads them.
    """
    while True:
        wanted = {
            "which-jobs": "all",
            "limit": PAGE,
            "first-job-id": first_id,
            "requested-attributes": ["job-id", *attributes],
        }
        page = (await ask(http, server, Request(IppOperation.GET_JOBS, wanted)))["jobs"]
        for one in page:
            yield one
        if len(page) < PAGE:
            return
        first_id = number(page[-1], "job-id") + 1


def question(server: Server, request: Request, deadline: float, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask once, from ordinary code. deadline: seconds for everything. Raises Overdue, and as `ask` does."""

    async def once() -> Answer:
        try:
            async with session(headers) as http, asyncio.timeout(deadline):
                return await ask(http, server, request)
        finally:
            if server.tls:
                await asyncio.sleep(GOODBYE)

    try:
        return asyncio.run(once())
    except TimeoutError:
        raise Overdue(f"{server} did not answer within {deadline:g} s") from None


def decode(body: bytes, server: object) -> Answer:
    """Raises Unintelligible for whatever is not IPP."""
    try:
        return dict(pyipp.parser.parse(body, contains_data=True))
    except Exception as error:  # of many kinds: the parser checks nothing beforehand
        raise Unintelligible(f"{server} does not answer in IPP") from error


def _broken(server: Server, cause: BaseException) -> Unreachable | Unintelligible:
    if isinstance(cause, aiohttp.ClientResponseError | UnicodeDecodeError):
        return Unintelligible(f"{server} does not answer in HTTP")
    if type(cause) is aiohttp.ClientConnectorError and cause.errno and cause.errno > 0:  # subclasses tell of TLS
        return Unreachable(f"{server}: {os.strerror(cause.errno)}")  # its own words name the address once more
    return Unreachable(f"{server}: {cause or type(cause).__name__}")


_parse_attribute = pyipp.parser.parse_attribute


def _forward_only(data: bytes, offset: int, previous: str = "") -> tuple[dict[str, Any], int]:
    """pyipp reads lengths as signed numbers, and a negative one would lead it in circles for ever."""
    attribute, after = _parse_attribute(data, offset, previous)
    if not offset < after < len(data):
        raise ValueError("it ends within an attribute")
    return attribute, after


pyipp.parser.parse_attribute = _forward_only
