"""One's own jobs and what they cost, for everybody who may print. Nothing here can be asked for about anybody else."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import streamlit as st

from controller.state import State
from controller.views.fleet_words import age_of, as_of, for_everybody, mood
from dashboard import jobs, tasks
from dashboard import viewer as access
from dashboard.components import LIVE, MARKS, heading, section, seen
from dashboard.times import clock, zone


def show(state: State) -> None:
    heading("My jobs")
    _printing(state)
    _cost(state)
    section("Jobs")
    st.segmented_control(
        "Which jobs",
        ["open", "ended"],
        default="open",
        required=True,
        key="which",
        bind="query-params",
        label_visibility="collapsed",
    )
    _list(state)
    jobs.confirm(state, own=True)


@st.fragment(run_every=LIVE)
def _printing(state: State) -> None:
    """The one thing about the fleet that everybody may know."""
    with access.person(state) as (views, _):
        status = views.status()
    old = age_of(status) is not None
    waits = any(printer["everywhere"] for printer in status["standing"])
    mark = MARKS["bad" if mood(status) == "bad" else "doubt" if old or waits else "good"]
    st.markdown(f"{mark} {as_of(status, clock)}{for_everybody(status)}")
    if old:
        st.caption("Nobody looks after the servers at the moment: what you see may have changed since.")


@st.fragment(run_every="15s")
def _cost(state: State) -> None:
    today = datetime.now(zone()).date()
    with access.person(state) as (views, viewer):
        month = views.costs_of(viewer.name, today.replace(day=1), today + timedelta(days=1))
        year = views.costs_of(viewer.name, date(today.year, 1, 1), today + timedelta(days=1))
        currency, limits = views.currency(), views.limits_of(viewer.name)
    with st.grid(min_column_width=150):
        st.metric("Pages this month", month["pages"], border=True)
        st.metric("Cost this month", f"{month['amount']:.2f} {currency}", border=True)
        st.metric("Cost this year", f"{year['amount']:.2f} {currency}", border=True)
        if month["balance"] > 0 and not any(limit["allowed"] is None for limit in limits):
            st.metric("Left of what was paid in", f"{month['balance']:.2f} {currency}", border=True)
        for limit in limits:
            _limit(limit)


def _limit(limit: dict[str, Any]) -> None:
    """What may still be printed of a quota, or for what was paid in."""
    if limit["allowed"] is None:
        st.metric("You may still print for", f"{limit['left']} {limit['what']}", border=True, help=_PREPAID)
        return
    help_ = f"{limit['used']} of {limit['allowed']} {limit['what']} are used; what is under way counts."
    st.metric(
        f"You may still print {_PERIODS[limit['per']]}", f"{limit['left']} {limit['what']}", border=True, help=help_
    )


_PREPAID = "What is left of the money that was paid in for you; what is under way counts."
_PERIODS = {"day": "today", "week": "this week", "month": "this month", "year": "this year"}


@st.fragment(run_every=LIVE)
def _list(state: State) -> None:
    which = st.session_state.get("which") or "open"
    with access.person(state) as (views, viewer):
        tasks.current([row for row in views.commands(100) if row["asked_by"] == viewer.name], [])
        with seen(views.status(), "jobs"):
            jobs.listed(
                state,
                lambda limit, offset: views.jobs_of(viewer.name, which, limit, offset),
                "You have printed nothing yet." if which == "ended" else "Nothing of yours waits.",
                own=True,
            )
