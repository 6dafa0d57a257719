"""Jobs as rows, and what can be done with one. A job is known by its job-uuid, never by its row or its number alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from controller.state import State
from controller.views.phrases import lasting
from dashboard import tasks
from dashboard import viewer as access
from dashboard.components import badge, first_page, nothing, older_and_newer, page_number, verbatim
from dashboard.node_words import open_jobs
from dashboard.tables import price
from dashboard.tasks import Asked
from dashboard.times import clock

WIDTHS = (170, 170, 130, 100)
"""Of a row's cells but the title, in pixels."""
_VERBS = {
    "hold-job": "Hold",
    "release-job": "Release",
    "cancel-job": "Cancel",
    "move-job": "Move",
}
_UNTIL = {"hold-job": " until it is released"}
"""What follows, where the word alone does not say it and nothing is asked."""
_CONSEQUENCES = {
    "cancel-job": "It will not be printed, or not to its end. What was printed of it is charged.",
    "move-job": "It goes to another server, and is the last one there.",
}
FEWEST = "the server with the fewest jobs"
"""Where a job goes when none is chosen. Choices are told apart by their words, which must not change meanwhile."""
_AT_ONCE = ("hold-job", "release-job")
"""Verbs that the other one undoes: no question is asked before."""
_REASONS = {
    "none": "",
    "aborted-by-system": "the server gave it up",
    "job-canceled-at-device": "cancelled at the printer",
    "job-canceled-by-operator": "cancelled by an administrator",
    "job-canceled-by-user": "cancelled by its owner",
    "job-completed-successfully": "",
    "job-completed-with-errors": "with errors",
    "job-completed-with-warnings": "with warnings",
    "job-data-insufficient": "its document has not come whole",
    "job-hold-until-specified": "until it is released",
    "job-incoming": "it is still coming in",
    "job-outgoing": "",
    "job-printing": "",
    "job-queued": "",
    "job-spooling": "it is still coming in",
    "printer-stopped": "the printer has stopped",
    "processing-to-stop-point": "it is being stopped",
    "resources-are-not-ready": "the printer lacks something",
}
"""For job-state-reasons (RFC 8011, 5.3.8); '' where the state says it already."""
_WAITED = {"pending": "waits {}", "held": "came {} ago"}
SHOWN = 20
"""On one page."""
OPEN = ("pending", "held", "processing", "stopped")


def listed(state: State, find: Callable[[int, int], list[dict[str, Any]]], empty: str, own: bool = False) -> None:
    """A page of jobs. find: is given how many to look for at most, and how many to pass over."""
    page = page_number()
    found = find(SHOWN + 1, (page - 1) * SHOWN)
    if not found and page > 1:
        first_page()
    if not found:
        nothing(empty)
    for job in found[:SHOWN]:
        row(state, job, own)
    older_and_newer(page, more=len(found) > SHOWN)


def row(state: State, job: dict[str, Any], own: bool = False) -> None:
    """A job with its menu. own: of the viewer, who may not move it and need not be told whose it is."""
    reason = job["why"] or why(job["reasons"])
    whose = "" if own else f"  \n:small[:gray[{verbatim(job['user'])}, {job['node']}]]"
    waited = _WAITED.get(job["state"], "waited {}").format(lasting(job["waiting"]))
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"row-{job['uuid']}"):
        st.markdown(f"**{verbatim(job['title']) or 'untitled'}**  \n:small[:gray[job {job['id']}]]", width="stretch")
        st.markdown(badge("job", job["state"]) + (f"  \n:small[{verbatim(reason)}]" if reason else ""), width=WIDTHS[0])
        st.markdown(f"{verbatim(job['printer'])}{whose}", width=WIDTHS[1])
        st.markdown(f"{waited}  \n:small[:gray[{clock(job['created_at'])}]]", width=WIDTHS[2])
        st.markdown(_size(job), width=WIDTHS[3])
        _menu(state, job, own)


def why(reasons: str) -> str:
    """job-state-reasons in words; those that have none stand for themselves."""
    said = (_REASONS.get(one, one) for one in reasons.split())
    return ", ".join(word for word in said if word)


def _size(job: dict[str, Any]) -> str:
    kilobytes = f"{job['size']} KB" if job["size"] < 10_000 else f"{job['size'] / 1000:.0f} MB"
    pages = job.get("pages")
    if pages is None:
        return kilobytes
    cost = "" if job.get("cost") is None else f", {price(job['cost']):f}"
    return f"{kilobytes}  \n:small[:gray[{pages} pages{cost}]]"


def _menu(state: State, job: dict[str, Any], own: bool) -> None:
    if job["state"] not in OPEN:
        st.markdown("", width=tasks.MENU_WIDTH)
        return
    verbs = ["release-job" if job["state"] in ("held", "stopped") else "hold-job", "cancel-job"]
    if job["state"] == "processing":
        verbs = ["cancel-job"]
    if not own and job["state"] != "processing":
        verbs.append("move-job")
    chosen = st.menu_button(
        f"Manage {job['id']}",
        verbs,
        key=f"manage-{job['uuid']}",
        format_func=lambda verb: f"{_VERBS[verb]} job {job['id']}{_UNTIL.get(verb, '')}",
        width=tasks.MENU_WIDTH,
    )
    if chosen in _AT_ONCE:
        tasks.ask(state, chosen, job["uuid"], admin=not own)
    elif chosen:
        tasks.begin(Asked(chosen, job["uuid"]))


def confirm(state: State, own: bool = False) -> None:
    """The dialog of the last click on a job, if it was not answered. Call once in a page."""
    asked: Asked | None = st.session_state.get("asked")
    if asked and asked.verb in _VERBS:
        st.dialog(f"{_VERBS[asked.verb]} a job", on_dismiss=tasks.close)(_dialog)(state, asked, own)


def _dialog(state: State, asked: Asked, own: bool) -> None:
    job = find(state, asked.name, own)
    if job is None or job["state"] not in OPEN:
        st.info("This job has ended already.")
        return
    whose = "" if own else f" of {verbatim(job['user'])}"
    st.markdown(f"**{verbatim(job['title']) or 'untitled'}**, job {job['id']}{whose} on {verbatim(job['printer'])}")
    st.markdown(_CONSEQUENCES[asked.verb])
    argument = asked.name if asked.verb != "move-job" or own else _aimed(state, job)
    if st.button(f"{_VERBS[asked.verb]} job {job['id']}", key="confirmed", type="primary", width="stretch"):
        still = find(state, asked.name, own)
        if still is None or still["state"] not in OPEN:
            st.toast("This job has ended already.")
        elif not tasks.ask(state, asked.verb, argument, admin=not own):
            return
        tasks.close()
        st.rerun()


def _aimed(state: State, job: dict[str, Any]) -> str:
    """The argument of a move, with the node that was chosen, if any: the controller takes that with the fewest jobs."""
    with access.administrator(state) as views:
        found = [node for node in views.nodes() if node["state"] == "ready" and node["name"] != job["node"]]
    found.sort(key=lambda node: (node["open_jobs"] or 0, node["slot"]))
    if found:
        st.markdown(f"Now {found[0]['name']} has the fewest: {open_jobs(found[0])}.")
    names = [FEWEST, *(node["name"] for node in found)]
    chosen = st.selectbox("To", names, key="target")
    return job["uuid"] if chosen == FEWEST else f"{job['uuid']} {chosen}"


def find(state: State, uuid: str, own: bool) -> dict[str, Any] | None:
    """The job as it is now; None where there is none, or where it is not the viewer's own and has to be."""
    if own:
        with access.person(state) as (views, viewer):
            job = views.job(uuid)
        return job if job and job["user"] == viewer.name else None
    with access.administrator(state) as views:
        return views.job(uuid)
