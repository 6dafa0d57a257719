"""Values that fleet.toml is written in, and what every section of it has in common."""

from __future__ import annotations

import re
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)):(?P<port>\d{1,5})")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def _seconds(value: object) -> object:
    if isinstance(value, str):
        if match := _DURATION.fullmatch(value.strip()):
            return float(match[1]) * _UNITS[match[2]]
        raise ValueError('a duration such as "30s", "5m", "1h" or "500ms"')
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError('a duration such as "30s", "5m", "1h" or "500ms"')
    return value


_SECONDS = BeforeValidator(_seconds)
Seconds = Annotated[
    float,
    _SECONDS,
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"}),
]
"""A duration: written `30s` in the file, seconds in the code."""

EVERYWHERE = "everywhere"
"""The model of a printer that describes itself over IPP."""


def holds_login(device: str) -> bool:
    """Whether a device URI has a name or password in it. CUPS hides those only behind the scheme, so no backend of ours
    can be put in front."""
    return "@" in device.partition("://")[2].partition("/")[0]


def is_duration(metadata: list[Any]) -> bool:
    """Whether a field with this metadata holds Seconds."""
    return _SECONDS in metadata


Port = Annotated[int, Field(ge=1, le=65535)]


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `1.2.3.4:631` or `[::1]:631`. Raises ValueError."""
    if not (match := _ADDRESS.fullmatch(text)) or not 1 <= int(match["port"]) <= 65535:
        raise ValueError("HOST:PORT, for example print2.example.org:631 or [2001:db8::2]:631")
    return match["ipv6"] or match["host"], int(match["port"])


def _address(value: str) -> str:
    split_address(value)
    return value


HostPort = Annotated[str, AfterValidator(_address)]


def _zone(name: str) -> str:
    if name:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            raise ValueError("a time zone such as Europe/Berlin, or nothing for the machine's own") from None
    return name


Zone = Annotated[str, AfterValidator(_zone)]


def zone_named(name: str) -> ZoneInfo | None:
    """Of a `Zone`; None for the machine's own."""
    return ZoneInfo(name) if name else None


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
