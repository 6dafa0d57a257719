"""IPP messages as bytes (RFC 8010): taken apart into attribute groups and put together again.

A value that is not looked at is never decoded, so that what a node said reaches the client byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

OPERATION, JOB, END, PRINTER, UNSUPPORTED, SUBSCRIPTION, EVENT = 1, 2, 3, 4, 5, 6, 7
"""Delimiter tags (RFC 8010, 3.5.1; RFC 3995 and 3996 for the last two)."""
NO_VALUE, INTEGER, BOOLEAN, ENUM, TEXT, NAME, KEYWORD, URI = 0x13, 0x21, 0x22, 0x23, 0x41, 0x42, 0x44, 0x45
_FIRST_VALUE = 0x10
_HEAD = struct.Struct(">2sHi")


class Malformed(ValueError):
    """These bytes are no IPP message."""


class Spot(NamedTuple):
    """An attribute inside its group: type and bytes of its first value, and where in the group's bytes it stands."""

    tag: int
    value: bytes
    start: int
    end: int

    @property
    def number(self) -> int:
        """An integer or enum; 0 for whatever else, `no-value` among it."""
        return int.from_bytes(self.value, "big", signed=True) if self.tag in (INTEGER, ENUM) else 0


class Group(NamedTuple):
    """One attribute group. raw: its bytes, delimiter tag first. spots: the attributes that were looked for."""

    tag: int
    raw: bytes
    spots: dict[bytes, Spot]

    def number(self, name: bytes) -> int:
        """The integer that was looked for, or 0."""
        spot = self.spots.get(name)
        return spot.number if spot else 0

    def without(self, names: Iterable[bytes]) -> bytes:
        """The group's bytes with these attributes (looked for before) cut out."""
        cuts = sorted(spot[2:] for name in names if (spot := self.spots.get(name)))
        if not cuts:
            return self.raw
        kept, at = [], 0
        for start, end in cuts:
            kept.append(self.raw[at:start])
            at = end
        return b"".join([*kept, self.raw[at:]])


@dataclass(frozen=True)
class Message:
    """A request or an answer. code: the operation or the status."""

    version: bytes
    code: int
    request_id: int
    groups: list[Group] = field(default_factory=list)
    data: bytes = b""

    def of(self, tag: int) -> list[Group]:
        return [group for group in self.groups if group.tag == tag]


class Attribute(NamedTuple):
    """An attribute of a request. raw: all its bytes; values: type and bytes of each (flat, for collections)."""

    name: bytes
    values: list[tuple[int, bytes]]
    raw: bytes

    @property
    def tag(self) -> int:
        return self.values[0][0]

    def integers(self) -> list[int]:
        return [int.from_bytes(value, "big", signed=True) for tag, value in self.values if tag == INTEGER]


def split(body: bytes, wanted: Container[bytes] = frozenset()) -> Message:
    """Take a message apart in one walk; of each group the `wanted` attributes are looked up. Raises Malformed."""
    if len(body) < _HEAD.size + 1:
        raise Malformed("too short for an IPP message")
    groups: list[Group] = []
    spots: dict[bytes, Spot] = {}
    at, start = _HEAD.size, -1
    open_name, open_tag, open_value, open_start = b"", 0, b"", 0
    try:
        while True:
            tag = body[at]
            if tag < _FIRST_VALUE:
                if open_name:
                    spots[open_name] = Spot(open_tag, open_value, open_start - start, at - start)
                    open_name = b""
                if start >= 0:
                    groups.append(Group(body[start], body[start:at], spots))
                at += 1
                if tag == END:
                    version, code, request_id = _HEAD.unpack_from(body)
                    return Message(version, code, request_id, groups, body[at:])
                start, spots = at - 1, {}
                continue
            if start < 0:
                raise Malformed("an attribute stands before the first group")
            name_length = body[at + 1] << 8 | body[at + 2]
            name_end = at + 3 + name_length
            after = name_end + 2 + (body[name_end] << 8 | body[name_end + 1])
            if name_length:  # a further value of an attribute, or a collection's member, has none
                if open_name:
                    spots[open_name] = Spot(open_tag, open_value, open_start - start, at - start)
                    open_name = b""
                name = body[at + 3 : name_end]
                if name in wanted and name not in spots:
                    open_name, open_tag, open_value, open_start = name, tag, body[name_end + 2 : after], at
            at = after
    except IndexError:
        raise Malformed("it ends within an attribute") from None


def attributes(group: bytes) -> list[Attribute]:
    """Every attribute of a group that `split` found sound."""
    return list(_attributes(group))


def _attributes(group: bytes) -> Iterator[Attribute]:
    at, start, name = 1, 1, b""
    values: list[tuple[int, bytes]] = []
    while at < len(group):
        tag, name_length = group[at], int.from_bytes(group[at + 1 : at + 3], "big")
        name_end = at + 3 + name_length
        after = name_end + 2 + int.from_bytes(group[name_end : name_end + 2], "big")
        if name_length:
            if values:
                yield Attribute(name, values, group[start:at])
            name, values, start = group[at + 3 : name_end], [], at
        values.append((tag, group[name_end + 2 : after]))
        at = after
    if values:
        yield Attribute(name, values, group[start:])


def attribute(tag: int, name: str, *values: bytes | str | int) -> bytes:
    """An attribute's bytes; text is written in UTF-8, a number in as many bytes as its type has."""
    size = 1 if tag == BOOLEAN else 4
    encoded = [
        value.to_bytes(size, "big", signed=size > 1)
        if isinstance(value, int)
        else value.encode()
        if isinstance(value, str)
        else value
        for value in values
    ]
    names = [name.encode(), *(b"" for _ in encoded[1:])]
    return b"".join(_value(tag, one, value) for one, value in zip(names, encoded, strict=True))


def _value(tag: int, name: bytes, value: bytes) -> bytes:
    return struct.pack(">BH", tag, len(name)) + name + struct.pack(">H", len(value)) + value


def message(version: bytes, code: int, request_id: int, groups: Iterable[bytes], data: bytes = b"") -> bytes:
    """A message out of the bytes of its groups."""
    return b"".join([_HEAD.pack(version, code, request_id), *groups, bytes([END]), data])


def renumbered(body: bytes, request_id: int) -> bytes:
    """The same message as the answer to another request."""
    return body[:4] + struct.pack(">i", request_id) + body[8:]
