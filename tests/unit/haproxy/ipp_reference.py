"""A second reading of IPP framing, written from RFC 8010 apart from the Lua one, for comparison only.

It works by recursive descent over attribute groups, values and collections and knows nothing of HAProxy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SIZES = {0x21: 4, 0x22: 1, 0x23: 4, 0x31: 11, 0x32: 9, 0x33: 8, 0x34: 0, 0x37: 0}
SIZES |= dict.fromkeys((0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17), 0)
FREE = {0x30, 0x35, 0x36, *range(0x41, 0x4B)}


class Bad(Exception):
    """Not well-framed."""


class Short(Exception):
    """Ends too early."""


@dataclass
class Found:
    group: int
    name: bytes
    values: list[tuple[int, bytes]] = field(default_factory=list)


class Reader:
    """Reads one attribute section; `attributes` holds what stands at the top level."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.attributes: list[Found] = []

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Short
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def section(self) -> Reader:
        head = self.take(8)
        if head[0] > 2:
            raise Bad
        group = 0
        while True:
            tag = self.number(1)
            if tag == 3:
                return self
            if tag < 0x10:
                if tag == 0 or tag > 10 or (tag == 1) != (group == 0):
                    raise Bad
                group, current = tag, None
                continue
            if group == 0:
                raise Bad
            name, value = self.value(tag)
            if tag in (0x37, 0x4A) or (not name and current is None) or b"\0" in name:
                raise Bad
            if name:
                current = Found(group, name)
                self.attributes.append(current)
            assert current
            current.values.append((tag, value))
            if kind(tag) != kind(current.values[0][0]):
                raise Bad
            if tag == 0x34:
                self.collection(1)

    def value(self, tag: int) -> tuple[bytes, bytes]:
        if tag not in SIZES and tag not in FREE:
            raise Bad
        length = self.number(2)
        if length > 255:
            raise Bad
        name = self.take(length)
        length = self.number(2)
        if length > 32767 or SIZES.get(tag, length) != length:
            raise Bad
        value = self.take(length)
        if tag in (0x35, 0x36):
            two_strings(value)
        return name, value

    def collection(self, depth: int) -> None:
        if depth > 8:
            raise Bad
        kinds: set[object] | None = None
        while True:
            tag = self.number(1)
            if tag < 0x10:
                raise Bad
            name, value = self.value(tag)
            if name:
                raise Bad
            if tag in (0x37, 0x4A) and kinds == set():
                raise Bad
            if tag == 0x37:
                return
            if tag == 0x4A:
                if not value:
                    raise Bad
                kinds = set()
                continue
            if kinds is None:
                raise Bad
            kinds.add(kind(tag))
            if len(kinds) > 1:
                raise Bad
            if tag == 0x34:
                self.collection(depth + 1)


def kind(tag: int) -> object:
    if tag in (0x35, 0x36) or 0x41 <= tag <= 0x49:
        return "string"
    return "number" if tag in (0x21, 0x33) else tag


def two_strings(value: bytes) -> None:
    first = int.from_bytes(value[:2], "big")
    rest = value[2 + first :]
    if len(value) < 4 or first > 63 or len(rest) < 2 or len(rest) != 2 + int.from_bytes(rest[:2], "big"):
        raise Bad


def verdict(data: bytes) -> tuple[str, list[Found]]:
    """("ok" | "bad" | "more", attributes)."""
    reader = Reader(data)
    try:
        reader.section()
    except Bad:
        return "bad", []
    except Short:
        return "more", []
    return "ok", reader.attributes
