"""Events: every decision and every click, with who, why and what came of it; to search and to take away."""

from __future__ import annotations

from typing import Any

import streamlit as st

from controller.state import State
from dashboard import viewer as access
from dashboard.components import SLOW, downloads, heading, nothing, older_and_newer, table
from dashboard.times import Span, moment, span, span_choice

EVENTS_SHOWN = 100
EXPORTED = 100_000
"""Rows of a download at most."""


def show(state: State) -> None:
    heading("Events")
    with st.container(horizontal=True, vertical_alignment="center"):
        span_choice("24h")
        st.text_input(
            "Search",
            key="text",
            bind="query-params",
            type="search",
            placeholder="Node, person, reason, outcome",
            label_visibility="collapsed",
            width=320,
        )
        st.toggle("Clicks and commands only", key="clicks", bind="query-params")
    _list(state)


@st.fragment(run_every=SLOW)
def _list(state: State) -> None:
    page = int(st.session_state.get("page", 1))
    chosen = span(st.session_state.get("range") or "24h")
    found = _events(state, chosen, EVENTS_SHOWN, (page - 1) * EVENTS_SHOWN)
    rows, total = found["rows"], found["total"]
    if not rows:
        nothing(f"Nothing happened in the last {chosen.name} that fits.", "event_busy")
        return
    st.caption(f"{total:,} events in the last {chosen.name}")
    table(map(shown, rows), "Events, newest first", when=st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"))
    older_and_newer(page, more=page * EVENTS_SHOWN < total)
    downloads("events", lambda: [shown(row) for row in _events(state, chosen, EXPORTED)["rows"]])


def _events(state: State, chosen: Span, limit: int, offset: int = 0) -> dict[str, Any]:
    kinds = ("command",) if st.session_state.get("clicks") else ()
    text = (st.session_state.get("text") or "").strip()
    with access.administrator(state) as views:
        return views.events(chosen.since, None, text, limit, offset, kinds)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """An event as it stands in the table: a command with who asked for it and what came of it."""
    outcome = f"{row['state']}: {row['outcome']}" if row["outcome"] else row["state"]
    return {
        "when": moment(row["at"]),
        "what": row["kind"],
        "node": row["node"],
        "why": row["text"],
        "who": row["who"] or "cupsfleet",
        "outcome": outcome,
    }
