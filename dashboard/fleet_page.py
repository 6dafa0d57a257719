"""The fleet: whether people can print, what is being done about it, and every node with its work and its reason."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import streamlit as st

from controller.state import State
from dashboard import charts, tasks
from dashboard import viewer as access
from dashboard.components import (
    AT_ONCE,
    FIGURES,
    LIVE,
    SLOW,
    age_of,
    badge,
    counted,
    heading,
    link,
    nothing,
    plain,
    problems,
    rows_of_page,
    section,
    seen,
    stale_note,
)
from dashboard.node_words import marks, open_jobs, three_views, waits
from dashboard.times import HOUR, clock, lasting, span, span_choice, zone

SPARKS, SAMPLES = 40, 240
"""Points of a figure's line and of the chart."""
EVENTS_MARKED = 200
QUARTER = 900
"""Seconds of which the ledger keeps a sum."""
NODES_SHOWN = 20
"""On one page of the list."""
WIDTHS = (0.9, 1.5, 1.4, 2.9, 1.9, 1.5)
"""Of a row's cells. On a phone they stand below each other, so each says what it is without a heading."""
COUNTED = ("ready", "draining", "unhealthy", "dead", "unknown")
UNWELL = ("unhealthy", "disputed", "unknown")
"""What a node may be seen as that its state does not say."""


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
    section("Nodes")
    _filters()
    _nodes(state)
    tasks.confirm(state)


def _filters() -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Add a node", key="add", icon=":material/add:", type="primary"):
            st.session_state["asked"] = tasks.Asked("add", "")
        st.text_input(
            "Search nodes",
            key="node",
            bind="query-params",
            type="search",
            placeholder="Name, address, reason",
            width=280,
            label_visibility="collapsed",
        )
        st.pills(
            "State", COUNTED, selection_mode="multi", key="state", bind="query-params", label_visibility="collapsed"
        )


@st.fragment(run_every=AT_ONCE)
def _overview(state: State) -> None:
    with access.administrator(state) as views:
        status = views.status()
    old = "" if age_of(status) is None else f"As of {clock(status['controller']['seen'])}: "
    heading(f"{mood(status)} {old}{sentence(status)}")
    problems(status["problems"])
    stale_note(status)
    with seen(status, "overview"):
        st.markdown(" ".join(badge("node", word, f"{count} {word}") for word, count in counts(status["nodes"]).items()))


@st.fragment(run_every=FIGURES)
def _figures(state: State) -> None:
    now = time.time()
    midnight = datetime.now(zone()).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    with access.administrator(state) as views:
        status, today = views.status(), views.today(now, zone())
        lately, printed = views.series(now - HOUR, now, SPARKS), views.printed(midnight, now)
    waited = [row["wait_p95"] for row in lately if row["wait_p95"] is not None]
    with seen(status, "figures"), st.grid(min_column_width=250 if "kiosk" in st.query_params else 165):
        _figure("Queue depth", f"{status['queue_depth']:,}", [row["queue_depth"] for row in lately], _HOUR)
        _figure(
            "Wait, 95 %", lasting(waited[-1]) if waited else "none", [row["wait_p95"] or 0 for row in lately], _WAIT
        )
        for name in ("jobs", "pages", "cost"):
            shown = f"{today[name]:,.2f}" if name == "cost" else f"{today[name]:,}"
            _figure(f"{name.capitalize()} today", shown, quarters(printed, name, midnight, now), _TODAY)
        if float(status["price_per_hour"]):
            nodes = [float(row["cost_per_hour"]) for row in lately]
            _figure("Nodes per hour", status["price_per_hour"], nodes, "What the nodes cost in an hour. " + _HOUR)


_HOUR = "The line is the last hour."
_WAIT = "95 % of the jobs that began to print in the last minutes had waited at most so long. " + _HOUR
_TODAY = "Since midnight; a bar is a quarter of an hour."


def _figure(label: str, value: str, spark: Sequence[float], about: str) -> None:
    """A figure with its recent past, where there is one."""
    past = list(spark) if len(spark) > 1 else None
    kind: Literal["bar", "area"] = "bar" if about == _TODAY else "area"
    st.metric(label, value, border=True, chart_data=past, chart_type=kind, help=about, height="stretch")


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
    if samples:
        charts.fleet(samples, events, chosen, 480 if kiosk else 300)
    else:
        nothing(f"Nothing was recorded in the last {chosen.name}: no controller ran.", "query_stats")


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
        nothing("There is no node yet. The controller orders one as soon as it runs: `./cupsfleet up`")
        return
    wanted, states = st.session_state.get("node") or "", st.session_state.get("state") or []
    found = [node for node in status["nodes"] if chosen(node, wanted, states)]
    if not found:
        nothing("No node fits the filters above.", "filter_alt_off")
        return
    with seen(status, "nodes"):
        for node in rows_of_page(found, NODES_SHOWN, "page"):
            _node_row(node)


def _node_row(node: dict[str, Any]) -> None:
    """One row. Its menu is known by the node's name, never by the row's position."""
    with st.container(border=True, key=f"row-{node['name']}"):
        who, standing, work, why, views, menu = st.columns(WIDTHS, vertical_alignment="center")
    with who:
        link("node", f"**{node['name']}**", name=node["name"])
    standing.markdown(f"{marks(node)}  \n:small[:gray[{plain(node['address'])}]]")
    work.markdown(f"{open_jobs(node)}  \n:small[:gray[{waits(node)}]]")
    why.markdown(f"{plain(node['reason'].split(chr(10))[0])}  \n:small[:gray[since {clock(node['since'])}]]")
    views.markdown(f":small[{three_views(node)}]")
    with menu:
        tasks.node_menu(node)


def seen_as(node: dict[str, Any]) -> str:
    """The one word to count and to filter a node by."""
    health = node.get("health", "")
    if node["state"] == "ready" and health in UNWELL:
        return "unknown" if health == "disputed" else str(health)
    return str(node["state"])


def counts(nodes: list[dict[str, Any]]) -> dict[str, int]:
    """How many nodes are seen as what; other words only where there are any."""
    found = dict.fromkeys(COUNTED, 0)
    for node in nodes:
        found[seen_as(node)] = found.get(seen_as(node), 0) + 1
    return found


def chosen(node: dict[str, Any], wanted: str, states: list[str]) -> bool:
    """Whether the filters let a node through."""
    text = f"{node['name']} {node['address']} {node['reason']}".lower()
    return all(word in text for word in wanted.lower().split()) and (not states or seen_as(node) in states)


def mood(status: dict[str, Any]) -> str:
    """Green, orange or red before the sentence."""
    ready = counts(status["nodes"])["ready"]
    if ready == 0:
        return ":red[:material/error:]"
    if ready < len(status["nodes"]) or status["problems"]:
        return ":orange[:material/warning:]"
    return ":green[:material/check_circle:]"


def sentence(status: dict[str, Any]) -> str:
    """Whether people can print, and when the last of those who wait will."""
    nodes = status["nodes"]
    ready = counts(nodes)["ready"]
    if not nodes:
        return "Nobody can print: there is no server yet."
    if ready == 0:
        return f"Nobody can print: none of {counted(len(nodes), 'server')} is ready. {_waiting(status)}"
    if ready == len(nodes):
        servers = "The only server is ready." if ready == 1 else f"All {ready} servers ready."
        return f"{servers} {_waiting(status)}"
    return f"People can print: {ready} of {len(nodes)} servers ready. {_waiting(status)}"


def _waiting(status: dict[str, Any]) -> str:
    waiting = sum(node.get("waiting") or 0 for node in status["nodes"])
    if not waiting:
        return "No job waits."
    longest = max((node.get("wait") or 0.0 for node in status["nodes"]), default=0.0)
    last = "it will start" if waiting == 1 else "the last will start"
    return f"{counted(waiting, 'job')} waiting, {last} in about {lasting(longest)}."
