"""Mutated HTTP around IPP requests: framing that lies or contradicts itself, odd heads, and requests hidden in bodies.

What a proxy and the server behind it read differently lets one person's bytes become another person's request. So a
hidden request, in the name of somebody who did not log in, stands where a mistake would make it count.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable

from tests.process.edge import ippwire
from tests.process.edge.door import basic, raw

METHODS = [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"BREW", b"post", b"P" * 300]
PATHS = [
    b"/",
    b"*",
    b"",
    b"/admin/",
    b"/jobs/",
    b"/ipp/print",
    b"/printers/office?waitjob=false",
    b"/printers/office?%00%0d%0aX:",
    b"/printers/office#x",
    b"/printers/../admin/",
    b"//printers/office",
    b"/printers/office%2f..",
    b"/printers/office.ppd",
    b"/icons/office.png",
    b"/printers/" + b"a" * 3000,
    b"/printers/\xc3\xa4\xff",
    b"ipp://localhost/printers/office",
    b"http://elsewhere:631/printers/office",
    b"localhost:631",
]
VERSIONS = [
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/9.9",
    b"HTTP/1.",
    b"http/1.1",
    b"",
    b"HTTP/1.1 x",
]
LENGTHS = [
    b"+5",
    b"-1",
    b"0x10",
    b"",
    b"1e3",
    b"5 5",
    b"5, 5",
    b"9" * 19,
    b"9" * 40,
    b"18446744073709551621",
    b"2147483648",
]
CODINGS = [
    b"Chunked",
    b"gzip, chunked",
    b"chunked, chunked",
    b"chunked, identity",
    b"identity",
    b"xchunked",
    b"chunked;q=1",
    b"\x0bchunked",
    b"\tchunked ",
    b"\r\n chunked",
    b"chunked\0",
    b"",
]
SIZES = [
    b"zz",
    b"-5",
    b"0x10",
    b"f" * 17,
    b"8" + b"0" * 15,
    b"+5",
    b"",
    b" 5",
    b"5 ",
    b"5;a=b",
    b"0000000000000005",
    b"00",
]
FIELDS = [
    b"Expect: 100-continue",
    b"Expect: a miracle",
    b"Host: elsewhere",
    b"Content-Type: text/html",
    b"Content-Type: application/ipp; x=y",
    b"Content-Encoding: gzip",
    b"Connection: close",
    b"Connection: Host, Content-Length, Transfer-Encoding, Authorization",
    b"Connection: Upgrade\r\nUpgrade: TLS/1.2",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    b"Authorization: Basic cm9vdDpyb290",
    b"Authorization: Negotiate",
    b"Proxy-Authorization: Basic cm9vdDpyb290",
    b"X-Fleet-User: root\r\nX-Fleet-Secret: guess",
    b"X-HTTP-Method-Override: PUT",
    b"Accept-Encoding: gzip, identity;q=0",
    b"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    b"Range: bytes=0-",
    b"TE: trailers\r\nTrailer: X",
    b"Folded: a\r\n b\r\n\tc",
    b"Space : b",
    b": nameless",
    b"Zero: a\0b",
    b"Return: a\rb",
    b"Content_Length: 3",
    b"Content-Length\t: 3",
    b"\xff\xfe: x",
    b"Long: " + b"x" * 9000,
    b"Endless: " + b"x" * 40000,
    b"\r\n".join(b"Many-%d: x" % number for number in range(150)),
    b"no colon at all",
]


def hidden() -> bytes:
    """A whole request in the name of somebody else, without a login."""
    job = ippwire.print_job(ippwire.user("alice"))
    head = b"POST /printers/office HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(job) + job


def trailers(rng: random.Random) -> bytes:
    return rng.choice(
        [
            b"X: y\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"POST: /printers/office HTTP/1.1\r\nHost: x\r\n",
            b"X: y\r\n z\r\n",
            b"A: b\r\nC: d\r\n" + hidden(),
            b"A: " + b"x" * 40000 + b"\r\n",
        ]
    )


def chunked(rng: random.Random, body: bytes) -> bytes:
    """The body in chunks; most of the time something about them is odd."""
    at, parts, odd = 0, [], rng.random() < 0.6
    while at < len(body):
        size = rng.randint(1, 400)
        piece = body[at : at + size]
        told = rng.choice(SIZES) if odd and rng.random() < 0.3 else b"%x" % len(piece)
        parts.append(told + rng.choice([b"\r\n"] * 9 + [b"\n"]) + piece + b"\r\n")
        at += size
    end = b"0\r\n" + (trailers(rng) if rng.random() < 0.3 else b"") + b"\r\n"
    return b"".join(parts) + (b"" if odd and rng.random() < 0.1 else end)


def framed(rng: random.Random, body: bytes) -> tuple[list[bytes], bytes]:
    """Header fields that say how long the body is, and the body as it goes over the wire."""
    length, coding = b"Content-Length: %d", b"Transfer-Encoding: "
    right = length % len(body)
    match rng.randrange(8):
        case 0:
            return [length % rng.choice([0, 1, len(body) - 1, len(body) // 2, len(body) + 1, len(body) + 5000])], body
        case 1:
            return [right, length % rng.choice([0, len(body), len(body) + 9])], body
        case 2:
            return [b"Content-Length: " + rng.choice(LENGTHS)], body
        case 3:
            fields = [coding + b"chunked", length % rng.choice([0, 5, len(body)])]
            return rng.sample(fields, 2), chunked(rng, body)
        case 4:
            more = [coding + rng.choice(CODINGS)] + rng.choice([[], [right], [coding + b"chunked"]])
            return more, rng.choice([body, chunked(rng, body)])
        case 5:
            return [], body
        case 6:
            return [right], body
        case _:
            return [coding + b"chunked"], chunked(rng, body)


def scratched(rng: random.Random, data: bytes) -> bytes:
    """Some bytes cut, flipped, doubled or put in."""
    at = rng.randrange(len(data))
    match rng.randrange(5):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + data[at : at + rng.randrange(80)] + data[at:]
        case 3:
            return data[:at] + data[at + rng.randrange(1, 20) :]
        case _:
            return data[:at] + rng.choice([b"\r\n", b"\n", b"\0", b" ", b":", b"\r\n\r\n"]) + data[at:]


def plain(rng: random.Random) -> bytes:
    """IPP that the edge has nothing to say against, so that the HTTP around it decides."""
    claim = ippwire.user(rng.choice(["demo", "alice", "a" * 200]))
    operation = rng.choice([0x0002, 0x0002, 0x0004, 0x000A, 0x000B, 0x4001])
    return ippwire.request(operation, ippwire.printer(), claim) + (b"document" if operation == 2 else b"")


def conversation(rng: random.Random, odd: Callable[[random.Random], bytes]) -> bytes:
    """One to three requests on one connection, some with `odd` IPP. The login is the one thing that is always right."""
    said = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        method = rng.choice(METHODS) if rng.random() < 0.15 else b"POST"
        path = rng.choice(PATHS) if rng.random() < 0.2 else b"/printers/office"
        version = rng.choice(VERSIONS) if rng.random() < 0.15 else b"HTTP/1.1"
        body = rng.choice([plain, plain, plain, odd])(rng) + (hidden() if rng.random() < 0.3 else b"")
        lengths, body = framed(rng, body)
        fields = [b"Host: localhost", b"Content-Type: application/ipp", *lengths]
        fields += rng.choices(FIELDS, k=rng.choice([0, 0, 1, 1, 2]))
        rng.shuffle(fields)
        rest = b"\r\n".join(fields) + b"\r\n\r\n" + body
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            rest = scratched(rng, rest) or b"\r\n"
        login = f"Authorization: {basic('demo', 'demo')}\r\n".encode()
        said.append(b" ".join([method, path, version]) + b"\r\n" + login + rest)
    return b"".join(said) + (hidden() if rng.random() < 0.2 else b"")


def converse(port: int, data: bytes, rng: random.Random) -> bytes:
    """Say it all and hang up; what was answered until the door hung up, too. One in ten hangs up at once and hard.

    Raises TimeoutError when the door does neither answer nor hang up.
    """
    answer = b""
    with raw(port) as connection:
        try:
            connection.sendall(data)
            if rng.random() < 0.1:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return b""
            with socket.socket(fileno=os.dup(connection.fileno())) as half:
                half.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except TimeoutError:
            raise
        except OSError:  # the door hung up first
            pass
    return answer
