"""What the decisions go by, as it was read from the configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from controller.config import ENV_PREFIX, Settings
from controller.config_values import Section, is_duration
from controller.store import Store

_SHOWN: Mapping[str, tuple[str, ...]] = {
    "scaling": (),
    "nodes": ("min", "max", "price_per_hour", "start_timeout", "drain_deadline"),
    "health": (),
}
"""Sections, and which of their fields; all of them where none is named."""
THRESHOLDS = "thresholds"


def publish_thresholds(store: Store, settings: Settings) -> None:
    """Write them down for the readers, whose environment may be another one. Within a transaction."""
    store.put_fact(THRESHOLDS, list(thresholds(settings, os.environ)))


def thresholds(settings: Settings, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """name, value and default as the file would say them, source (`default`, `file` or `environment`), and about."""
    variables = {name.upper() for name in environment}
    for section, names in _SHOWN.items():
        values: Section = getattr(settings, section)
        for name, field in type(values).model_fields.items():
            if names and name not in names:
                continue
            variable = f"{ENV_PREFIX}{section}__{name}".upper()
            given = "environment" if variable in variables else "file"
            yield {
                "name": f"{section}.{name}",
                "value": _written(field, getattr(values, name)),
                "default": _written(field, field.get_default(call_default_factory=True)),
                "source": given if name in values.model_fields_set else "default",
                "about": (field.description or "").replace("\n", " "),
            }


def _written(field: FieldInfo, value: Any) -> str:
    if is_duration(field.metadata):
        return f"{value:g}s"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(_one(item) for item in value) or "none"
    return str(value)


def _one(item: Any) -> str:
    """A timetable's entry in words, anything else as it is."""
    if isinstance(item, Section):
        return " ".join(f"{name} {_plain(part)}" for name, part in item if part != ())
    return str(item)


def _plain(part: Any) -> str:
    return " ".join(map(str, part)) if isinstance(part, tuple) else str(part)
