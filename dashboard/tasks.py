"""Actions are tasks: who asked, how far it is, what came of it. And what is asked before one is begun.

A node's name is captured at the click, stands in the dialog, and is looked up again when the button in it is pressed:
names are never used again, so that rows which moved meanwhile change nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import streamlit as st

from controller.state import State
from controller.store import Store
from controller.views.fleet_words import seen_as
from controller.views.phrases import counted, lasting
from dashboard import viewer as access
from dashboard.components import badge, plain, verbatim
from dashboard.times import clock

SHOWN_FOR = 300.0
"""Seconds for which a finished task stays among the current ones."""
SHOWN = 6
MENU_WIDTH = 170
"""Pixels."""
_NODE_ACTIONS = {"drain": "Drain", "resume": "Resume", "evacuate": "Evacuate", "retire": "Retire"}
_LEAVES = ("leaving", "rescuing")
"""States from which no node comes back."""
_OPEN = ("asked", "running")


@dataclass(frozen=True)
class Asked:
    """What somebody clicked, and for which node or job; kept for the session until it is confirmed or dismissed."""

    verb: str
    name: str


def ask(state: State, verb: str, argument: str, admin: bool = True) -> bool:
    """Hand a click to the controller, which carries it out; False when that can't be. Who asks is looked up now."""
    if state.controller() is None:
        how = "Start it with: `./cupsfleet up`" if admin else "Try again later."
        st.error(f"No controller runs, so nobody would carry that out. {how}")
        return False
    try:
        viewer = access.current(state)
    except access.Refused:
        st.rerun()
    if admin and not viewer.admin:
        st.rerun()
    with Store(state.database) as store:
        number = store.ask(verb, argument, viewer.name)
    st.toast(f"Task {number}: {_what(verb, argument)}", icon=":material/task_alt:")
    return True


def node_menu(node: dict[str, Any]) -> None:
    """What can be done with a node. The choice opens a dialog; `confirm` shows it."""
    name = node["name"]
    if node["state"] in _LEAVES:
        st.markdown(":gray[leaves]", width=MENU_WIDTH)
        return
    verbs = ["drain" if node["goal"] == "serve" else "resume", "retire", "evacuate"]
    if node["goal"] == "retire":
        verbs.remove("retire")
    chosen = st.menu_button(
        f"Manage {name}",
        verbs,
        key=f"manage-{name}",
        format_func=lambda verb: f"{_NODE_ACTIONS[verb]} {name}",
        width=MENU_WIDTH,
    )
    if chosen:
        begin(Asked(chosen, name))


def begin(asked: Asked) -> None:
    """Open the dialog for this click."""
    st.session_state["asked"] = asked
    st.rerun()


def confirm(state: State) -> None:
    """The dialog of the last click, if there is one that was not answered. Call once in a page."""
    asked: Asked | None = st.session_state.get("asked")
    if asked and asked.verb == "add":
        _add(state)
    elif asked and asked.verb in _NODE_ACTIONS:
        title = f"{_NODE_ACTIONS[asked.verb]} {asked.name}"
        st.dialog(title, on_dismiss=close)(_node_dialog)(state, asked)


def close() -> None:
    st.session_state.pop("asked", None)


def _done() -> None:
    close()
    st.rerun()


def _node_dialog(state: State, asked: Asked) -> None:
    """Says what will happen, and does it to the node that was clicked, whatever the page shows by now."""
    name, verb = asked.name, asked.verb
    with access.administrator(state) as views:
        status = views.status()
    node = _find(status, name)
    if node is None:
        st.info(f"{name} has left the fleet already.")
        return
    st.markdown(consequence(verb, node, status))
    typed_right = True
    if why := wants_typing(verb, node, status):
        st.warning(f"{why} Type its name to go on.", icon=":material/warning:")
        typed_right = st.text_input("Name of the server", key="typed", placeholder=name, live=True).strip() == name
    label = f"{_NODE_ACTIONS[verb]} {name}"
    if st.button(label, key="confirmed", type="primary", disabled=not typed_right, width="stretch"):
        _carry_out(state, asked)


def _carry_out(state: State, asked: Asked) -> None:
    with access.administrator(state) as views:
        gone = _find(views.status(), asked.name) is None
    if gone:
        st.toast(f"{asked.name} has left the fleet already.")
        _done()
    if ask(state, asked.verb, asked.name):
        _done()


@st.dialog("Add a server", on_dismiss=close)
def _add(state: State) -> None:
    with access.administrator(state) as views:
        status = views.status()
    serving = sum(node["goal"] == "serve" for node in status["nodes"])
    most = status["scaling"].get("max")
    st.markdown(
        f"The fleet grows from {counted(serving, 'server')} to {serving + 1}"
        + (f", of at most {most}." if most is not None else ".")
        + " The new one gets jobs as soon as it has proved that it prints."
    )
    address = st.text_input(
        "Address of a CUPS server that runs already",
        key="address",
        placeholder="print2.example.org:631; left empty, a new one is started here",
    )
    if st.button("Add", key="confirmed", type="primary", width="stretch") and ask(state, "add", address.strip()):
        _done()


def consequence(verb: str, node: dict[str, Any], status: dict[str, Any]) -> str:
    """What this does to the node and to the work on it, as Markdown (controller/decide/leaving.py)."""
    name = node["name"]
    if verb == "resume":
        return f"**{name}** gets new jobs again."
    if verb == "evacuate":
        others = "" if _others_ready(node, status) else " No other server is ready to take them now."
        return f"The waiting and held jobs of **{name}** go to other servers. {_jobs_there(node)}{others}"
    until = "until it is resumed" if verb == "drain" else "and leaves when its own are finished"
    return f"**{name}** takes no new jobs {_from(verb, node, status)}, {until}.\n\n{_finishing(verb, node, status)}"


def _from(verb: str, node: dict[str, Any], status: dict[str, Any]) -> str:
    """Since when: one that serves does so until others can."""
    needed = 1 if verb == "drain" else max(1, status["scaling"].get("min", 1))
    if node["state"] != "ready" or _others_ready(node, status) >= needed:
        return "from now on"
    return f"once {'another server is' if needed == 1 else f'{needed} other servers are'} ready"


def _others_ready(node: dict[str, Any], status: dict[str, Any]) -> int:
    """Nodes but this one that are well and are meant to go on."""
    others = (one for one in status["nodes"] if one["name"] != node["name"])
    return sum(one["goal"] == "serve" and seen_as(one) == "ready" for one in others)


def _jobs_there(node: dict[str, Any]) -> str:
    jobs = node["open_jobs"]
    return (
        "How many it has is not known: it does not answer." if jobs is None else f"It has {counted(jobs, 'open job')}."
    )


def _finishing(verb: str, node: dict[str, Any], status: dict[str, Any]) -> str:
    jobs, seconds = node["open_jobs"], node.get("work")
    if not jobs:
        return _jobs_there(node)
    about = f", about {lasting(seconds)}" if seconds else ""
    stuck = node.get("stuck") or 0
    held = f" Of them {stuck} {'is' if stuck == 1 else 'are'} held or stopped." if stuck else ""
    deadline = status["scaling"].get("drain_deadline")
    moved = (
        f" What is still there after {lasting(deadline)} goes to other servers."
        if deadline and verb == "retire"
        else ""
    )
    return f"{counted(jobs, 'job')} will finish first{about}.{held}{moved}"


def wants_typing(verb: str, node: dict[str, Any], status: dict[str, Any]) -> str:
    """Why this click must be meant twice; '' when it need not."""
    if verb not in ("retire", "drain"):
        return ""
    others, least = _others_ready(node, status), status["scaling"].get("min", 0)
    if others == 0:
        return "No other server is ready."
    return f"Ready besides it: {counted(others, 'server')}, and `nodes.min` is {least}." if others < least else ""


def _find(status: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((node for node in status["nodes"] if node["name"] == name), None)


def current(commands: list[dict[str, Any]], nodes: list[dict[str, Any]]) -> None:
    """The tasks that are under way or were finished a moment ago."""
    now = time.time()
    recent = [
        row for row in commands if row["state"] in _OPEN or now - (row["answered_at"] or row["asked_at"]) < SHOWN_FOR
    ]
    by_name = {node["name"]: node for node in nodes}
    for row in recent[:SHOWN]:
        _task(row, by_name.get(row["node"] or row["argument"]))


def _what(verb: str, argument: str) -> str:
    """What was asked for, as Markdown. The uuid of a job says nothing to people, and its outcome has the number."""
    return verb.replace("-", " ") if verb.endswith("-job") else f"{verb} {verbatim(argument)}".rstrip()


def _task(row: dict[str, Any], node: dict[str, Any] | None) -> None:
    what = _what(row["verb"], row["argument"] or row["node"])
    said = f"{badge('task', row['state'])} **{what}**, asked by {verbatim(row['asked_by'])}"
    st.markdown(f"{said} at {clock(row['asked_at'])}" + (f": {plain(row['outcome'])}" if row["outcome"] else ""))
    progress = node["progress"] if node and row["state"] == "running" else None
    if progress and progress["jobs_left"] is not None:
        left, finished = progress["jobs_left"], progress["finished"]
        about = f", about {lasting(progress['seconds'])}" if progress["seconds"] else ""
        share = finished / (left + finished) if left + finished else 1.0
        st.progress(share, text=f"{finished} finished, {counted(left, 'job')} left{about}")
