"""A print server that must always answer the prober.

It lives in the prober's own event loop and is asked as any node, over a socket, by the same code. It shares no cupsd,
no disk and no network with the nodes: when it does not answer, or late, then what the prober says of the nodes is not
to be believed either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from probes.sweep import Target

NAME = "canary"
"""Its name among the targets; no node is called so."""
_CHARSET = b"\x01\x47\x00\x12attributes-charset\x00\x05utf-8"
_LANGUAGE = b"\x48\x00\x1battributes-natural-language\x00\x02en"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def canary() -> AsyncIterator[Target]:
    """Answers every IPP request with success and nothing, until the context ends. Raises OSError."""
    async with await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
        yield Target(NAME, *server.sockets[0].getsockname())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        asked = await reader.readexactly(_length(head))
        # RFC 8010 3.1.1: version, successful-ok, the request's own id; then only what every answer must have.
        body = b"\x02\x00\x00\x00" + asked[4:8] + _CHARSET + _LANGUAGE + b"\x03"
        writer.write(_HEAD % len(body) + body)
        await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass  # who asked has gone, and knows it
    finally:
        writer.close()


def _length(head: bytes) -> int:
    lines = (line.lower().partition(b":") for line in head.split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)
