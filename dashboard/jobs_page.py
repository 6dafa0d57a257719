"""Queues and jobs: what waits where and for whom, the oldest first, and what can be done about it."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from controller.state import State
from controller.views.phrases import lasting
from dashboard import jobs, tasks
from dashboard import viewer as access
from dashboard.components import LIVE, heading, section, seen, stale_note, tally
from dashboard.tables import table

STATES = ("open", *jobs.OPEN, "ended", "completed", "canceled", "aborted", "lost")
ANY = "Any printer"
SUMS_SHOWN = 8


def show(state: State) -> None:
    heading("Queues and jobs")
    _sums(state)
    section("Jobs")
    with access.administrator(state) as views:
        printers = sorted({*views.status()["printers"], *(row["name"] for row in views.open_by("queue"))})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Printer", [ANY, *printers], key="printer", bind="query-params", width=220)
        st.text_input("User", key="user", bind="query-params", type="search", placeholder="Any user", width=220)
        st.selectbox("State", STATES, key="which", bind="query-params", width=160)
    _list(state)
    jobs.confirm(state)


@st.fragment(run_every=LIVE)
def _sums(state: State) -> None:
    with access.administrator(state) as views:
        status, counts = views.status(), views.job_counts()
        queues, users = views.open_by("queue"), views.open_by("owner")
    stale_note(status)
    with seen(status, "sums"):
        tally("job", counts)
        if not queues:
            return
        left, right = st.columns(2)
        with left:
            _sums_by("printer", queues)
        with right:
            _sums_by("user", users)


def _sums_by(what: str, found: list[dict[str, Any]]) -> None:
    """Those with the oldest jobs."""
    section(f"By {what}")
    rows = [
        {
            what: row["name"],
            "open": row["open"],
            "held or stopped": row["stuck"],
            "oldest": f"{lasting(time.time() - row['since'])} ago",
        }
        for row in found[:SUMS_SHOWN]
    ]
    table(rows, f"Open jobs by {what}")
    if len(found) > SUMS_SHOWN:
        st.caption(f"{len(found) - SUMS_SHOWN:,} more, whose jobs are younger")


@st.fragment(run_every=LIVE)
def _list(state: State) -> None:
    chosen = st.session_state
    printer = "" if chosen.get("printer", ANY) == ANY else chosen["printer"]
    user, which = (chosen.get("user") or "").strip(), chosen.get("which") or "open"
    with access.administrator(state) as views:
        status, commands = views.status(), views.commands(30)
        tasks.current([row for row in commands if row["verb"].endswith("-job")], [])
        with seen(status, "jobs"):
            jobs.listed(
                state,
                lambda limit, offset: views.jobs(printer, user, which, limit, offset),
                "No job fits the filters above." if printer or user else "No job of this kind.",
            )
