"""IPP answers, decoded (RFC 8010). Written for sweeps: a reading needs few attributes of very many jobs.

pyipp's own parser takes ten times as long, for it logs at every step. Requests are encoded by pyipp (probes/ipp.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TypeAlias

from probes.errors import Unintelligible

Value: TypeAlias = int | bool | str | bytes
Attributes: TypeAlias = dict[str, list[Value]]

END_OF_ATTRIBUTES = 0x03
JOB_GROUP, PRINTER_GROUP = 0x02, 0x04
_FIRST_VALUE_TAG = 0x10
_INTEGER, _BOOLEAN, _ENUM = 0x21, 0x22, 0x23
_FIRST_STRING, _WITH_LANGUAGE = 0x40, (0x35, 0x36)
_HEAD = Struct(">HHi")
_SHORT = Struct(">H")
_LONG = Struct(">i")


@dataclass(frozen=True)
class Answer:
    """status: IPP status code. groups: (group tag, attributes) in order. data: what follows the attributes."""

    status: int
    groups: tuple[tuple[int, Attributes], ...]
    data: bytes = b""

    def of(self, group: int) -> list[Attributes]:
        """All groups of a kind, such as JOB_GROUP: one for each job."""
        return [attributes for tag, attributes in self.groups if tag == group]


def decode(body: bytes) -> Answer:
    """Decode a whole answer. Members of collections are skipped. Raises Unintelligible for anything malformed."""
    try:
        return _decode(body)
    except (IndexError, ValueError, ArithmeticError) as error:
        raise Unintelligible(f"an answer of {len(body)} bytes is not IPP: {error}") from None
    except Exception as error:
        if type(error).__name__ == "error":  # struct.error has no better base
            raise Unintelligible(f"an answer of {len(body)} bytes is not IPP: {error}") from None
        raise


def _decode(body: bytes) -> Answer:
    _, status, _ = _HEAD.unpack_from(body, 0)
    groups: list[tuple[int, Attributes]] = []
    attributes: Attributes = {}
    values: list[Value] = []
    position, depth = 8, 0
    while (tag := body[position]) != END_OF_ATTRIBUTES:
        position += 1
        if tag < _FIRST_VALUE_TAG:
            attributes = {}
            groups.append((tag, attributes))
            continue
        (length,) = _SHORT.unpack_from(body, position)
        name = body[position + 2 : position + 2 + length]
        position += 2 + length
        (length,) = _SHORT.unpack_from(body, position)
        position += 2
        raw = body[position : position + length]
        position += length
        if position >= len(body):
            raise ValueError("it ends within an attribute")
        if tag == 0x34:  # a collection begins; its members follow as values of no name
            depth += 1
        elif tag == 0x37:
            depth -= 1
        elif depth == 0:
            if name:
                values = attributes[name.decode()] = []
            values.append(_value(tag, raw))
    return Answer(status, tuple(groups), body[position + 1 :])


def _value(tag: int, raw: bytes) -> Value:
    if tag in (_INTEGER, _ENUM):
        return int(_LONG.unpack(raw)[0])
    if tag >= _FIRST_STRING:
        return raw.decode(errors="replace")
    if tag == _BOOLEAN:
        return raw != b"\0"
    if tag in _WITH_LANGUAGE:
        (skip,) = _SHORT.unpack_from(raw, 0)
        return raw[4 + skip :].decode(errors="replace")
    return raw


def text(attributes: Attributes, name: str) -> str:
    """The first value if it is a text, else ''. Out-of-band values (no-value, unknown) are empty too."""
    value = attributes.get(name, ("",))[0]
    return value if isinstance(value, str) else ""


def number(attributes: Attributes, name: str) -> int:
    """The first value if it is a number, else 0."""
    value = attributes.get(name, (0,))[0]
    return value if isinstance(value, int) else 0


def texts(attributes: Attributes, name: str) -> tuple[str, ...]:
    """All texts, the keyword `none` excepted."""
    return tuple(value for value in attributes.get(name, ()) if isinstance(value, str) and value != "none")
