"""Times as the viewer's clock shows them, and how far back a page looks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import streamlit as st

from controller.views.phrases import DAY, HOUR

RANGES = {"1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
"""What can be chosen, as it stands in the URL, in seconds."""


@dataclass(frozen=True)
class Span:
    """A stretch of time that a page looks at, seconds since 1970."""

    name: str
    since: float
    until: float


def zone_switch() -> None:
    """The switch between the viewer's time zone and UTC; kept in the URL."""
    st.toggle("Times in UTC", key="utc", bind="query-params", help=f"Otherwise: {_own_zone()}")


def zone() -> tzinfo:
    """That of the viewer's browser, or UTC where that was chosen."""
    return UTC if in_utc() else _own_zone()


def in_utc() -> bool:
    return bool(st.session_state.get("utc"))


def _own_zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ValueError, OSError, KeyError):  # a browser may say anything
        return UTC


def span_choice(default: str = "1h") -> Span:
    """The choice of how far back to look; kept in the URL."""
    chosen = st.segmented_control(
        "Time range",
        list(RANGES),
        default=default,
        required=True,
        key="range",
        bind="query-params",
        label_visibility="collapsed",
    )
    return span(chosen or default)


def span(name: str) -> Span:
    """name: one of RANGES; anything else is the first of them."""
    now, name = time.time(), name if name in RANGES else next(iter(RANGES))
    return Span(name, now - RANGES[name], now)


def clock(at: float | None) -> str:
    """Time of day; with the date when it was not today."""
    if at is None:
        return "never"
    where = zone()
    moment, today = datetime.fromtimestamp(at, where), datetime.now(where).date()
    return f"{moment:%H:%M:%S}" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M:%S}"


def moment(at: float, where: tzinfo | None = None) -> datetime:
    """For tables, which sort by it. where: the viewer's zone when it is left out."""
    return datetime.fromtimestamp(at, where or zone())
