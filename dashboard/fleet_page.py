"""The fleet: whether people can print, what is being done about it, and every node with its work and its reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import streamlit as st

from controller.state import State
from controller.views.fleet_words import COUNTED, SIGNS, counts, doing, mood, seen_as, sentence
from controller.views.phrases import HOUR, capital, lasting
from dashboard import charts, figures, tasks
from dashboard import viewer as access
from dashboard.components import (
    AT_ONCE,
    FIGURES,
    LIVE,
    MARKS,
    SLOW,
    heading,
    link,
    nothing,
    plain,
    problems,
    rows_of_page,
    section,
    seen,
    tally,
)
from dashboard.figures import Figure
from dashboard.node_words import given, marks, open_jobs, three_views, waits, why
from dashboard.times import clock, span, span_choice, zone

LOOKS = 400
"""Samples of an hour that are looked at: every one that was taken."""
SPARKS, SAMPLES = 40, 240
"""Points of a figure's line and of the chart."""
EVENTS_MARKED = 200
QUARTER = 900
"""Seconds of which the ledger keeps a sum."""
NODES_SHOWN = 20
"""On one page of the list."""
WIDTHS = (90, 170, 170, 220)
"""Of a row's cells but the widest, in pixels. On a phone they come on several lines, so each says what it is without a
heading."""


def show(state: State) -> None:
    kiosk = "kiosk" in st.query_params
    _overview(state)
    if not kiosk:
        _current_tasks(state)
    _figures(state)
    section("Queue and fleet over time")
    _history(state)
    if kiosk:
        return
    section("Servers")
    _filters()
    _nodes(state)
    tasks.confirm(state)


def _filters() -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Add a server", key="add", icon=":material/add:", type="primary"):
            st.session_state["asked"] = tasks.Asked("add", "")
        st.text_input(
            "Search servers",
            key="node",
            bind="query-params",
            type="search",
            placeholder="Name, address, reason",
            width=280,
            label_visibility="collapsed",
        )
        st.pills(
            "State",
            COUNTED,
            selection_mode="multi",
            key="state",
            bind="query-params",
            label_visibility="collapsed",
            wrap=True,
        )


@st.fragment(run_every=AT_ONCE)
def _overview(state: State) -> None:
    with access.administrator(state) as views:
        status = views.status()
    st.set_page_config(page_title=f"{SIGNS[mood(status)]} cupsfleet")  # also seen while another tab is open
    heading(f"{MARKS[mood(status)]} {plain(sentence(status, clock))}")
    problems(status["problems"])
    with seen(status, "overview"):
        tally("node", counts(status["nodes"]))
        if status["scaling"]:
            _doing(status["scaling"])
    if "kiosk" in st.query_params:  # nobody would notice that a wall screen stands still
        st.caption(f"Seen at {clock(status['controller']['seen'])}")


def _doing(scaling: dict[str, Any]) -> None:
    """What the fleet is about, and why."""
    with st.container(horizontal=True, vertical_alignment="center", key="doing"):
        st.markdown(plain(doing(scaling)), width="content")
        if "kiosk" not in st.query_params:
            link("scaling", "Scaling")


@st.fragment(run_every=FIGURES)
def _figures(state: State) -> None:
    now = time.time()
    midnight = datetime.now(zone()).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    with access.administrator(state) as views:
        status, today = views.status(), views.today(now, zone())
        lately, printed = views.series(now - HOUR, now, LOOKS), views.printed(midnight, now)
        currency = views.currency()
    waited = peaks([row["wait_p95"] or 0.0 for row in lately])
    depths = peaks([row["queue_depth"] for row in lately])
    prices = peaks([float(row["cost_per_hour"]) for row in lately])
    ready = peaks([row["ready"] for row in lately], min)
    shown = [
        Figure("Ready servers", _ready(status["nodes"]), f"at least {min(ready, default=0):.0f} in 1 h", ready),
        Figure("Queue depth", f"{status['queue_depth']:,}", f"{_most(depths, '.0f')} in 1 h", depths),
        Figure("Wait, 95 % of jobs", _wait(lately), f"{_most(waited, '.0f')} s in 1 h", waited),
        *_todays(today, lambda name: quarters(printed, name, midnight, now), currency),
    ]
    if float(status["price_per_hour"]):
        about = f"{_most(prices, ',.2f')} in 1 h"
        shown.append(Figure(f"Cost per hour, {currency}", f"{Decimal(status['price_per_hour']):,}", about, prices))
    with seen(status, "figures"):
        figures.show(shown)


def _todays(today: dict[str, Any], past: Callable[[str], list[float]], currency: str) -> Iterator[Figure]:
    """What was printed since midnight. past: of `jobs`, `pages` or `cost`, by quarters of an hour."""
    for label, name, value in (
        ("Jobs today", "jobs", f"{today['jobs']:,}"),
        ("Pages today", "pages", f"{today['pages']:,}"),
        (f"Cost today, {currency}", "cost", f"{today['cost']:,.2f}"),
    ):
        yield Figure(label, value, "since midnight", past(name), bars=True)


def _most(past: Sequence[float], form: str) -> str:
    return f"at most {max(past, default=0):{form}}"


def peaks(values: Sequence[float], worst: Callable[[Sequence[float]], float] = max) -> list[float]:
    """At most SPARKS of them, each the worst of its stretch: a line through means would hide it."""
    each = max(1, -(-len(values) // SPARKS))
    return [worst(values[place : place + each]) for place in range(0, len(values), each)]


def _ready(nodes: list[dict[str, Any]]) -> str:
    return f"{counts(nodes)['ready']} of {len(nodes)}"


def _wait(lately: Sequence[dict[str, Any]]) -> str:
    """Of those that began to print in the five minutes before the newest sample, 95 % had waited at most so long."""
    newest = lately[-1]["wait_p95"] if lately else None
    return "none" if newest is None else lasting(newest)


def quarters(printed: list[dict[str, Any]], name: str, since: float, until: float) -> list[float]:
    """What was printed in each quarter of an hour; 0 in those in which nothing was."""
    known = {int(row["at"] // QUARTER): float(row[name]) for row in printed}
    return [known.get(place, 0.0) for place in range(int(since // QUARTER), int(until // QUARTER) + 1)]


@st.fragment(run_every=SLOW)
def _history(state: State) -> None:
    kiosk = "kiosk" in st.query_params
    chosen = span(st.query_params.get("range", "1h")) if kiosk else span_choice()
    with access.administrator(state) as views:
        samples = views.series(chosen.since, chosen.until, SAMPLES)
        events = views.events(chosen.since, chosen.until, limit=EVENTS_MARKED, kinds=("order", "drain"))["rows"]
        status = views.status()
    if not samples:
        nothing(f"Nothing was recorded in the last {chosen.name}: no controller ran.", "query_stats")
        return
    with seen(status, "history"):
        charts.fleet(samples, events, chosen, wall=kiosk)
        if events:
            st.caption(f"Last change of the fleet's size, at {clock(events[0]['at'])}: {plain(charts.said(events[0]))}")


@st.fragment(run_every=LIVE)
def _current_tasks(state: State) -> None:
    with access.administrator(state) as views:
        commands, nodes = views.commands(30), views.nodes()
    tasks.current(commands, nodes)


@st.fragment(run_every=LIVE)
def _nodes(state: State) -> None:
    with access.administrator(state) as views:
        status = views.status()
    if not status["nodes"]:
        nothing("There is no server yet. The controller orders one as soon as it runs: `./cupsfleet up`")
        return
    wanted, states = st.session_state.get("node") or "", st.session_state.get("state") or []
    found = [node for node in status["nodes"] if chosen(node, wanted, states)]
    if not found:
        nothing("No server fits the filters above.", "filter_alt_off")
        return
    found.sort(key=lambda node: seen_as(node) == "ready")  # what somebody may have to look at comes first
    shared = shared_reason(found)
    with seen(status, "nodes"):
        if shared:
            st.caption(f"Of all that are ready: {plain(shared)}.")
        weights = given(status["nodes"])
        for node in rows_of_page(found, NODES_SHOWN, "page"):
            _node_row(node, weights, shared)


def shared_reason(nodes: Sequence[dict[str, Any]]) -> str:
    """Why those that are ready are so, where it is the same for several; '' where they differ."""
    reasons = [why(node) for node in nodes if seen_as(node) == "ready"]
    return reasons[0] if len(reasons) > 1 and len(set(reasons)) == 1 else ""


def _node_row(node: dict[str, Any], weights: int, shared: str) -> None:
    """One row, without the reason that is said above all. Its menu is known by the node's name, never by the row's
    position. Cells without columns around them are half as many messages to each viewer at each refresh."""
    name, reason = node["name"], "" if why(node) == shared else f"{plain(capital(why(node)))}  \n"
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"row-{name}"):
        link("node", f"**{name}**", name=name, width=WIDTHS[0])
        st.markdown(f"{marks(node)}  \n:small[:gray[{plain(node['address'])}]]", width=WIDTHS[1])
        st.markdown(f"{open_jobs(node)}  \n:small[:gray[{waits(node, weights)}]]", width=WIDTHS[2])
        st.markdown(f"{reason}:small[:gray[since {clock(node['since'])}]]", width="stretch")
        st.markdown(f":small[{three_views(node)}]", width=WIDTHS[3])
        tasks.node_menu(node)


def chosen(node: dict[str, Any], wanted: str, states: list[str]) -> bool:
    """Whether the filters let a node through."""
    text = f"{node['name']} {node['address']} {node['reason']}".lower()
    return all(word in text for word in wanted.lower().split()) and (not states or seen_as(node) in states)
