"""The fleet: every node with its state, its work and the reason, and the two things an administrator does most."""

from __future__ import annotations

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
    "draining": ":blue-badge[:material/hourglass_top: draining]",
    "leaving": ":blue-badge[:material/logout: leaving]",
    "stopped": ":gray-badge[:material/stop_circle: stopped]",
    "dead": ":red-badge[:material/error: dead]",
    "proving": ":orange-badge[:material/fact_check: proving]",
    "starting": ":orange-badge[:material/play_circle: starting]",
    "ordered": ":orange-badge[:material/schedule: ordered]",
}
WIDTHS = (2.0, 1.5, 1.0, 1.0, 1.5, 4.0, 1.5)
HEADINGS = ("Node", "State", "Open jobs", "Weight", "Address", "Why", "")


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
        st.warning(problem, icon=":material/warning:")
    ready = sum(node["state"] == "ready" for node in status["nodes"])
    first, second, third, fourth = st.columns(4)
    first.metric("Nodes ready", f"{ready} of {len(status['nodes'])}", border=True)
    second.metric("Queue depth", status["queue_depth"], border=True)
    third.metric("Limits", f"{status['scaling'].get('min', '-')} … {status['scaling'].get('max', '-')}", border=True)
    fourth.metric(
        "Seen", "never" if status["controller"]["age"] is None else age(status["controller"]["age"]), border=True
    )


@st.fragment(run_every=REFRESH)
def _node_table(state: State) -> None:
    with _views(state) as views:
        nodes = views.nodes()
    if not nodes:
        st.info("There is no node yet. The controller orders one as soon as it runs: `./cupsfleet up`")
        return
    for cell, heading in zip(st.columns(WIDTHS), HEADINGS, strict=True):
        cell.markdown(f"**{heading}**" if heading else "")
    for node in nodes:
        _node_row(node)


def _node_row(node: dict[str, Any]) -> None:
    """One row. Its button is known by the node's name, never by the row's position."""
    cells = st.columns(WIDTHS, vertical_alignment="center")
    cells[0].markdown(f"**{node['name']}**  \nslot {node['slot']}")
    cells[1].markdown(MARKS.get(node["state"], node["state"]))
    cells[2].markdown("?" if node["open_jobs"] is None else str(node["open_jobs"]))
    cells[3].markdown(str(node["weight"]))
    cells[4].markdown(node["address"])
    cells[5].markdown(f"{node['reason']}  \n:gray[since {clock(node['since'])}]")
    if node["goal"] == "retire":
        cells[6].markdown(":gray[leaves]")
    elif cells[6].button("Retire", key=f"retire-{node['name']}", icon=":material/logout:"):
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
        commands, events = views.commands(8), views.events(15)
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


def sentence(status: dict[str, Any]) -> str:
    """Whether people can print, in one sentence."""
    nodes = status["nodes"]
    ready = sum(node["state"] == "ready" for node in nodes)
    jobs = status["queue_depth"]
    work = "no open jobs" if jobs == 0 else "1 open job" if jobs == 1 else f"{jobs} open jobs"
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


def age(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
