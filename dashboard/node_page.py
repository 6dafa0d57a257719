"""One node: what it does and why, its jobs, its past, what it says, and what can be done with it."""

from __future__ import annotations

import re
from typing import Any

import streamlit as st

from controller.state import State
from controller.views import Views
from dashboard import jobs, tasks
from dashboard import viewer as access
from dashboard.components import LIVE, counted, heading, nothing, plain, seen, stale_note, table
from dashboard.node_words import marks, three_views
from dashboard.times import clock, lasting, moment

EVENTS_SHOWN = 200
LINES_SHOWN = 200
PROBES_SHOWN = 90
NAME = re.compile("node-[0-9]{1,9}")
"""What the controller calls its nodes. A link may say anything, and nothing else of it is shown."""
PARTS = ("jobs", "events", "probes", "log")


def show(state: State) -> None:
    name = _chosen(state)
    if name is None:
        return
    _standing(state, name)
    st.segmented_control(
        "Part",
        PARTS,
        default="jobs",
        required=True,
        key="part",
        bind="query-params",
        label_visibility="collapsed",
    )
    _part(state, name)
    tasks.confirm(state)
    jobs.confirm(state)


def _chosen(state: State) -> str | None:
    """The node in the URL, which may have left; without one the choice of those there are."""
    with access.administrator(state) as views:
        names = [node["name"] for node in views.nodes()]
    wanted = st.query_params.get("name", "")
    if not NAME.fullmatch(wanted):
        wanted = ""
    heading(wanted or "Node")
    known = [*names, *([wanted] if wanted and wanted not in names else [])]
    if not known:
        nothing("There is no node yet. The controller orders one as soon as it runs: `./cupsfleet up`")
        return None
    place = known.index(wanted) if wanted else None
    chosen = st.selectbox(
        "Node", known, index=place, placeholder="Choose a node", label_visibility="collapsed", width=260
    )
    if chosen and chosen != wanted:
        st.query_params["name"] = chosen
        st.rerun()
    return wanted or None


@st.fragment(run_every=LIVE)
def _standing(state: State, name: str) -> None:
    with access.administrator(state) as views:
        status = views.status()
        commands = views.commands(30)
    node = next((node for node in status["nodes"] if node["name"] == name), None)
    stale_note(status)
    if node is None:
        nothing(f"{plain(name)} is not in the fleet any more. What is known of it stands below.", "archive")
        return
    with seen(status, "standing"):
        words, menu = st.columns((4, 1), vertical_alignment="center")
        words.markdown(f"{marks(node)} {plain(node['reason'])}  \n:small[:gray[since {clock(node['since'])}]]")
        with menu:
            tasks.node_menu(node)
        _figures(node)
        st.markdown(three_views(node))
    tasks.current([row for row in commands if name in (row["node"], row["argument"])], [node])


def _figures(node: dict[str, Any]) -> None:
    wait, latency = node.get("wait"), node["latency"]
    with st.grid(min_column_width=140):
        st.metric("Open jobs", "?" if node["open_jobs"] is None else node["open_jobs"], border=True)
        st.metric("Held or stopped", "?" if node.get("stuck") is None else node["stuck"], border=True)
        st.metric("A new job waits", "?" if wait is None else lasting(wait), border=True)
        st.metric("Weight", node["weight"], border=True)
        st.metric("Answers in", "no answer" if latency is None else f"{latency * 1000:.0f} ms", border=True)
        st.metric("Slot", node["slot"], border=True, help=node["address"])


@st.fragment(run_every=LIVE)
def _part(state: State, name: str) -> None:
    part = st.session_state.get("part") or "jobs"
    with access.administrator(state) as views:
        _SHOWN[part](state, views, name)


def _jobs(state: State, views: Views, name: str) -> None:
    jobs.listed(state, lambda limit, offset: views.jobs(node=name, limit=limit, offset=offset), "No open job is here.")


def _events(state: State, views: Views, name: str) -> None:
    found = views.history(name, EVENTS_SHOWN)
    if not found:
        nothing("Nothing is remembered of it.", "event_busy")
        return
    rows = [{"when": moment(row["at"]), "what": row["kind"], "why": row["text"]} for row in found]
    table(rows, f"What happened to {name}", when=st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"))


def _probes(state: State, views: Views, name: str) -> None:
    found = views.probes(name, PROBES_SHOWN)
    if not found:
        nothing("It was not asked lately.", "network_check")
        return
    table(
        map(_probe, found),
        f"What {name} answered, newest first",
        when=st.column_config.DatetimeColumn(format="HH:mm:ss"),
    )


def _probe(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "when": moment(row["at"]),
        "answer": row["error"] or ("" if row["latency"] is None else f"in {row['latency'] * 1000:.0f} ms"),
        "over TLS": row["tls_error"] or "ok",
        "open jobs": row["open_jobs"],
        "proxies that reach it": f"{row['up']} of {row['proxies']}",
    }


def _log(state: State, views: Views, name: str) -> None:
    lines = views.log_tail(name, LINES_SHOWN)
    if not lines:
        nothing("No log of it is on this machine.", "draft")
        return
    st.caption(f"The last {counted(len(lines), 'line')} of its error_log, the newest at the end")
    st.code("\n".join(lines), language=None, wrap_lines=True, height=480)


_SHOWN = {"jobs": _jobs, "events": _events, "probes": _probes, "log": _log}
