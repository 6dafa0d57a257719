"""Events: every decision and every click, with who, why and what came of it; to search and to take away."""

from __future__ import annotations

from datetime import tzinfo
from functools import partial
from typing import Any

import streamlit as st

from controller.event_words import happened
from controller.state import State
from controller.views import Views
from dashboard import viewer as access
from dashboard.components import SLOW, downloads, first_page, heading, nothing, older_and_newer, page_number, stale_note
from dashboard.tables import table
from dashboard.times import moment, span, span_choice, zone

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
            placeholder="Server, person, reason, outcome",
            label_visibility="collapsed",
            width=320,
        )
        st.toggle("Clicks and commands only", key="clicks", bind="query-params")
    _list(state)


@st.fragment(run_every=SLOW)
def _list(state: State) -> None:
    page = page_number()
    chosen = span(st.session_state.get("range") or "24h")
    wanted = partial(
        Views.events,
        since=chosen.since,
        text=(st.session_state.get("text") or "").strip(),
        kinds=("command",) if st.session_state.get("clicks") else (),
    )
    with access.administrator(state) as views:
        stale_note(views.status())
        found = wanted(views, limit=EVENTS_SHOWN, offset=(page - 1) * EVENTS_SHOWN)
    rows, total, where = found["rows"], found["total"], zone()
    if not rows and page > 1:
        first_page()
    if not rows:
        nothing(f"Nothing happened in the last {chosen.name} that fits.", "event_busy")
        return
    st.caption(f"{total:,} events in the last {chosen.name}")
    table([shown(row, where) for row in rows], "Events, newest first", node="server")
    older_and_newer(page, more=page * EVENTS_SHOWN < total)
    downloads(state, "events", lambda views: [shown(row, where) for row in wanted(views, limit=EXPORTED)["rows"]])


def shown(row: dict[str, Any], where: tzinfo) -> dict[str, Any]:
    """An event as it stands in the table: a command with who asked for it and what came of it."""
    outcome = f"{row['state']}: {row['outcome']}" if row["outcome"] else row["state"]
    return {
        "when": moment(row["at"], where),
        "what": happened(row["kind"]),
        "node": row["node"],
        "why": row["text"],
        "who": row["who"] or "cupsfleet",
        "outcome": outcome,
    }
