"""IPP as bytes, for tests: builds any request, right or wrong, and reads attributes without trusting them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import count

OPERATION, JOB, END = b"\x01", b"\x02", b"\x03"
_ids = count(1)


def attribute(tag: int, name: str | bytes, value: bytes | str | int) -> bytes:
    raw = name.encode() if isinstance(name, str) else name
    data = struct.pack(">i", value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value
    return struct.pack(">BH", tag, len(raw)) + raw + struct.pack(">H", len(data)) + data


def charset() -> bytes:
    return attribute(0x47, "attributes-charset", "utf-8") + attribute(0x48, "attributes-natural-language", "en")


def user(name: str) -> bytes:
    return attribute(0x42, "requesting-user-name", name)


def printer() -> bytes:
    return attribute(0x45, "printer-uri", "ipp://localhost/printers/office")


def request(operation: int, *attributes: bytes, groups: bytes = b"", version: bytes = b"\x02\x00") -> bytes:
    """A whole attribute section; `attributes` follow charset and language in the operation group."""
    head = version + struct.pack(">Hi", operation, next(_ids))
    return head + OPERATION + charset() + b"".join(attributes) + groups + END


def print_job(*attributes: bytes, groups: bytes = b"", document: bytes = b"hello") -> bytes:
    kind = attribute(0x49, "document-format", "application/octet-stream")
    return request(0x0002, printer(), *attributes, kind, groups=groups) + document


def status(answer: bytes) -> int:
    return int(struct.unpack(">H", answer[2:4])[0])


def values(answer: bytes, name: str) -> list[bytes]:
    """All values of every attribute of this name, in any group; collections are passed over flat."""
    return [value for found, value in read(answer) if found == name]


def integers(answer: bytes, name: str) -> list[int]:
    return [struct.unpack(">i", value)[0] for value in values(answer, name)]


def read(answer: bytes) -> Iterable[tuple[str, bytes]]:
    at, current = 8, ""
    while at < len(answer) and answer[at] != 3:
        if answer[at] < 0x10:
            at += 1
            continue
        name_length = struct.unpack_from(">H", answer, at + 1)[0]
        current = answer[at + 3 : at + 3 + name_length].decode(errors="replace") or current
        length = struct.unpack_from(">H", answer, at + 3 + name_length)[0]
        start = at + 5 + name_length
        yield current, answer[start : start + length]
        at = start + length


def jobs_request(name: str = "somebody") -> bytes:
    wanted = attribute(0x44, "requested-attributes", "job-id") + attribute(0x44, "", "job-originating-user-name")
    return request(0x000A, printer(), user(name), attribute(0x44, "which-jobs", "all"), wanted)
