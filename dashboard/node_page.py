"""One node: what it does and why, its jobs, its past, what it says, and what can be done with it."""

from __future__ import annotations

import re
from typing import Any

import streamlit as st

from controller.event_words import happened
from controller.state import State
from controller.views import Views
from controller.views.phrases import capital, counted, lasting
from dashboard import figures, jobs, tasks
from dashboard import viewer as access
from dashboard.components import LIVE, heading, nothing, plain, seen, stale_note
from dashboard.figures import Figure
from dashboard.node_words import given, marks, share, three_views, why
from dashboard.tables import table
from dashboard.times import clock, moment

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
    heading(wanted or "Server")
    known = [*names, *([wanted] if wanted and wanted not in names else [])]
    if not known:
        nothing("There is no server yet. The controller orders one as soon as it runs: `./cupsfleet up`")
        return None
    place = known.index(wanted) if wanted else None
    chosen = st.selectbox(
        "Server", known, index=place, placeholder="Choose a server", label_visibility="collapsed", width=260
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
        with st.container(horizontal=True, vertical_alignment="center"):
            said = f"{marks(node)} {plain(capital(why(node)))}  \n:small[:gray[since {clock(node['since'])}]]"
            st.markdown(said, width="stretch")
            tasks.node_menu(node)
        _figures(node, status["nodes"])
        st.markdown(three_views(node))
    tasks.current([row for row in commands if name in (row["node"], row["argument"])], [node])


def _figures(node: dict[str, Any], nodes: list[dict[str, Any]]) -> None:
    jobs_there, stuck, wait = node["open_jobs"], node.get("stuck"), node.get("wait")
    figures.show(
        (
            Figure("Open jobs", "?" if jobs_there is None else f"{jobs_there:,}", "the held and stopped ones too"),
            Figure("Held or stopped", "?" if stuck is None else f"{stuck:,}", "until somebody acts"),
            Figure("A new job waits", "?" if wait is None else lasting(wait), "by measured times"),
            Figure("Of all new jobs", share(node, given(nodes)), f"weight {node['weight']}"),
            Figure("Slot", str(node["slot"]), node["address"]),
        )
    )


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
    rows = [{"when": moment(row["at"]), "what": happened(row["kind"]), "why": row["text"]} for row in found]
    table(rows, f"What happened to {name}")


def _probes(state: State, views: Views, name: str) -> None:
    found = views.probes(name, PROBES_SHOWN)
    if not found:
        nothing("It was not asked lately.", "network_check")
        return
    table([_probe(row) for row in found], f"What {name} answered, newest first")


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
