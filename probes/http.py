"""The little HTTP that IPP needs: POST a body to a server, read the answer, on a connection that stays open.

A sweep makes two requests to each of a thousand nodes every second. A general client spends most of that second on
cookies, redirects, pools and timers that IPP has no use for (benchmarks/sweep.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from probes.errors import Unintelligible, Unreachable

LARGEST = 64 << 20
"""Bytes of an answer; a server that sends more is not understood."""


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


class Connection(asyncio.Protocol):
    """One connection, one request at a time. Opened at the first request, and again when the server closed it.

    Has no deadlines: wrap calls in asyncio.timeout, and `close` it in any case.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._buffer = bytearray()

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """HTTP status and body of the answer. Raises Unreachable, Unintelligible."""
        if self._transport is None or self._transport.is_closing():
            await self._open()
        assert self._transport
        self._answer = asyncio.get_running_loop().create_future()
        lines = {"Host": str(self.server), "Content-Type": "application/ipp"} | dict(headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._transport.write(f"POST / HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _open(self) -> None:
        where = self.server
        context = _context(where.verify) if where.tls else None
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self, where.host, where.port, ssl=context)
        except (OSError, ssl.SSLError) as error:
            raise Unreachable(f"{where}: {error.strerror or error}") from None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._settle(parse(self._buffer))
            if len(self._buffer) > LARGEST:
                raise ValueError(f"more than {LARGEST} bytes")
        except (ValueError, IndexError) as error:
            self._fail(Unintelligible(f"{self.server} does not answer in HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        with suppress(ValueError, IndexError):
            self._settle(parse(self._buffer, ended=True))
        self._fail(Unreachable(f"{self.server} closed the connection{f': {error}' if error else ''}"))

    def _settle(self, answer: tuple[int, bytes] | None) -> None:
        if answer and self._answer and not self._answer.done():
            self._answer.set_result(answer)
            self._buffer.clear()

    def _fail(self, error: Exception) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)
        self.close()


def parse(received: bytes | bytearray, ended: bool = False) -> tuple[int, bytes] | None:
    """Status and body of an answer once it is whole, else None. Raises ValueError, IndexError: not HTTP.

    ended: the server has closed the connection, which ends a body of untold length.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, start = bytes(received[:end]).lower(), end + 4
    status = int(head.split(None, 2)[1])
    if status == 100:  # continue: the answer proper follows
        return parse(received[start:], ended)
    if length := _header(head, b"content-length"):
        size = int(length)
        return (status, bytes(received[start : start + size])) if len(received) - start >= size else None
    if _header(head, b"transfer-encoding") == b"chunked":
        # Looking only when it may be complete keeps long answers linear.
        return _chunks(status, bytes(received[start:])) if received.endswith(b"0\r\n\r\n") else None
    return (status, bytes(received[start:])) if ended else None


def _chunks(status: int, coded: bytes) -> tuple[int, bytes] | None:
    parts: list[bytes] = []
    place = 0
    while True:
        end = coded.find(b"\r\n", place)
        if end < 0:
            return None
        size = int(coded[place:end].split(b";")[0], 16)
        if size == 0:
            return status, b"".join(parts)
        parts.append(coded[end + 2 : end + 2 + size])
        place = end + 2 + size + 2


def _header(head: bytes, name: bytes) -> bytes:
    found = head.find(b"\r\n" + name + b":")
    if found < 0:
        return b""
    start = found + len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


@cache
def _context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
