"""Attributes as pyipp decodes them: a name leads to one value, or to the list of several."""

from __future__ import annotations

from typing import Any, TypeAlias

Attributes: TypeAlias = dict[str, Any]


def text(attributes: Attributes, name: str) -> str:
    """The first value if it is a text, else ''. Out-of-band values (no-value, unknown) are empty too."""
    value = _first(attributes, name)
    return value if isinstance(value, str) else ""


def number(attributes: Attributes, name: str) -> int:
    """The first value if it is a number, else 0."""
    value = _first(attributes, name)
    return value if isinstance(value, int) else 0


def texts(attributes: Attributes, name: str) -> tuple[str, ...]:
    """All texts, the keyword `none` excepted."""
    values = attributes.get(name, ())
    many = values if isinstance(values, list) else [values]
    return tuple(value for value in many if isinstance(value, str) and value not in ("", "none"))


def _first(attributes: Attributes, name: str) -> Any:
    value = attributes.get(name)
    return value[0] if isinstance(value, list) and value else value
