"""The fleet: every node with its state, its work and the reason, and the two things an administrator does most."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from controller.state import State
from controller.store import Store
from controller.views import Views
from dashboard import viewer as access

REFRESH = "2s"
MARKS = {
    "ready": ":green-badge[:material/check_circle: ready]",
    "unhealthy": ":red-badge[:material/sick: unhealthy]",
    "disputed": ":violet-badge[:material/contrast: disputed]",
    "unknown": ":gray-badge[:material/help: unknown]",
    "draining": ":blue-badge[:material/hourglass_top: draining]",
    "leaving": ":blue-badge[:material/logout: leaving]",
    "stopped": ":gray-badge[:material/stop_circle: stopped]",
    "rescuing": ":red-badge[:material/move_up: rescuing]",
    "dead": ":red-badge[:material/error: dead]",
    "proving": ":orange-badge[:material/fact_check: proving]",
    "starting": ":orange-badge[:material/play_circle: starting]",
    "ordered": ":orange-badge[:material/schedule: ordered]",
}
FIGURE_WIDTH = 165
"""Pixels; two stand beside each other on a phone."""
WIDTHS = (1.6, 1.2, 1.2, 4.0, 1.2)
"""Of a row's cells. On a phone they stand below each other, so each says what it is without a heading."""


def show(state: State, viewer: str) -> None:
    """The whole page. `viewer` is the administrator who logged in."""
    st.title("Fleet")
    _overview(state)
    with st.container(horizontal=True):
        if st.button("Add a node", key="add", icon=":material/add:", type="primary"):
            _ask(state, "add", "", viewer)
    _node_table(state)
    if node := st.session_state.get("confirm"):
        _confirm(state, node, viewer)
    _history(state)


@contextmanager
def _views(state: State) -> Iterator[Views]:
    """For one refresh. Who may not look any more has the whole page run again, which says so."""
    if access.refusal(state):
        st.rerun()
    with Store(state.database) as store:
        yield Views(state, store)


@st.fragment(run_every=REFRESH)
def _overview(state: State) -> None:
    with _views(state) as views:
        status = views.status()
    st.markdown(f"#### {sentence(status)}")
    st.markdown(f"People print to `{status['front_door']['url']}`" if status["front_door"]["url"] else "")
    for problem in status["problems"]:
        st.warning(plain(problem), icon=":material/warning:")
    ready = sum(node["state"] == "ready" for node in status["nodes"])
    limits, seen = status["scaling"], status["controller"]["age"]
    with st.container(horizontal=True):
        _figure("Nodes ready", f"{ready} of {len(status['nodes'])}")
        _figure("Queue depth", status["queue_depth"])
        _figure("Limits", f"{limits.get('min', '-')} … {limits.get('max', '-')}")
        if float(status["price_per_hour"]):
            _figure("Cost per hour", status["price_per_hour"])
        _figure("Seen", "never" if seen is None else age(seen))


def _figure(label: str, value: str | int) -> None:
    st.metric(label, value, border=True, width=FIGURE_WIDTH)


@st.fragment(run_every=REFRESH)
def _node_table(state: State) -> None:
    with _views(state) as views:
        nodes = views.nodes()
    if not nodes:
        st.info("There is no node yet. The controller orders one as soon as it runs: `./cupsfleet up`")
        return
    for node in nodes:
        _node_row(node)


def _node_row(node: dict[str, Any]) -> None:
    """One row. Its button is known by the node's name, never by the row's position."""
    with st.container(border=True):
        who, standing, work, why, button = st.columns(WIDTHS, vertical_alignment="center")
    who.markdown(f"**{node['name']}**, slot {node['slot']}  \n:gray[{plain(node['address'])}]")
    standing.markdown(marks(node))
    work.markdown(f"{open_jobs(node)}  \n:gray[weight {node['weight']}]")
    first_line = node["reason"].split("\n")[0]
    why.markdown(f"{plain(first_line)}  \n:gray[since {clock(node['since'])}]")
    if node["goal"] == "retire":
        button.markdown(":gray[leaves]")
    elif button.button("Retire", key=f"retire-{node['name']}", icon=":material/logout:"):
        st.session_state["confirm"] = node["name"]
        st.rerun()


def _close() -> None:
    st.session_state.pop("confirm", None)


@st.dialog("Retire a node", on_dismiss=_close)
def _confirm(state: State, name: str, viewer: str) -> None:
    """Names the node and what will happen; the node is looked up again when the button is pressed."""
    node = _find(state, name)
    if node is None:
        st.info(f"{name} has left the fleet already.")
        return
    st.markdown(f"**{name}** takes no new jobs from now on and leaves when its own are finished.")
    st.markdown(consequence(node))
    if st.button(f"Retire {name}", key="retire-confirmed", type="primary"):
        if _find(state, name) is None:
            st.toast(f"{name} has left the fleet already.")
        else:
            _ask(state, "retire", name, viewer)
        _close()
        st.rerun()


@st.fragment(run_every=REFRESH)
def _history(state: State) -> None:
    st.subheader("What was asked, and what happened")
    with _views(state) as views:
        commands, events = views.commands(8), views.happened(15)
    if commands:
        fields = ("asked_by", "verb", "argument", "state", "outcome")
        rows = [{"at": clock(row["asked_at"]), **{field: row[field] for field in fields}} for row in commands]
        st.dataframe(rows, hide_index=True, width="stretch")
    if events:
        rows = [
            {"at": clock(row["at"]), "what": row["kind"], "node": row["node"], "why": row["text"]} for row in events
        ]
        st.dataframe(rows, hide_index=True, width="stretch")


def _find(state: State, name: str) -> dict[str, Any] | None:
    with _views(state) as views:
        return next((node for node in views.nodes() if node["name"] == name), None)


def _ask(state: State, verb: str, argument: str, viewer: str) -> None:
    """Hand the click to the controller, which carries it out and answers in the history below."""
    if state.controller() is None:
        st.error("No controller runs, so nobody would carry that out. Start it with: ./cupsfleet up")
        return
    if access.refusal(state):
        st.rerun()
    with Store(state.database) as store:
        number = store.ask(verb, argument, viewer)
    st.toast(f"Command {number}: {verb} {argument}".rstrip())


def marks(node: dict[str, Any]) -> str:
    """What a node is, and beside it how it is seen where that differs."""
    health = node.get("health", "")
    words = [node["state"], *([health] if health not in ("", "healthy", node["state"]) else [])]
    return " ".join(MARKS.get(word, word) for word in words)


def sentence(status: dict[str, Any]) -> str:
    """Whether people can print, in one sentence."""
    nodes = status["nodes"]
    ready = sum(node["state"] == "ready" for node in nodes)
    work = _counted(status["queue_depth"])
    if not nodes or ready == 0:
        return f"Nobody can print: no node is ready, {work}."
    if ready == len(nodes):
        return f"All {ready} nodes are ready, {work}."
    return f"People can print: {ready} of {len(nodes)} nodes are ready, {work}."


def consequence(node: dict[str, Any]) -> str:
    """What retiring this node means for the work on it."""
    jobs = node["open_jobs"]
    if jobs is None:
        return "It does not answer, so nobody knows how many jobs it has."
    return "It has no open job." if jobs == 0 else f"{jobs} {'job' if jobs == 1 else 'jobs'} will finish first."


def open_jobs(node: dict[str, Any]) -> str:
    return "jobs unknown" if node["open_jobs"] is None else _counted(node["open_jobs"])


def _counted(jobs: int) -> str:
    return "no open jobs" if jobs == 0 else "1 open job" if jobs == 1 else f"{jobs} open jobs"


def plain(text: str) -> str:
    """Markdown that shows this very text; only numbered steps and what stands in backticks keep their form."""
    parts = re.split(r"(`[^`\n]*`)", text)
    return "".join(part if place % 2 else re.sub(r"([\\$*_~<\[\]])", r"\\\1", part) for place, part in enumerate(parts))


def age(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
