"""The dashboard. The controller starts it; the front door leads to it under /fleet/."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from controller.state import State
from dashboard import costs_page, events_page, fleet_page, jobs_page, my_jobs_page, node_page, scaling_page, times
from dashboard import viewer as access
from dashboard.viewer import Viewer

Show = Callable[[State], None]

# Path, title, icon and content of each page; the first one is where people arrive.
ADMINISTRATORS: tuple[tuple[str, str, str, Show], ...] = (
    ("fleet", "Fleet", "dns", fleet_page.show),
    ("node", "Server", "print", node_page.show),
    ("jobs", "Queues and jobs", "list_alt", jobs_page.show),
    ("costs", "Costs", "payments", costs_page.show),
    ("events", "Events", "history", events_page.show),
    ("scaling", "Scaling", "trending_up", scaling_page.show),
)
EVERYBODY: tuple[tuple[str, str, str, Show], ...] = (("my-jobs", "My jobs", "person", my_jobs_page.show),)


def pages(state: State, viewer: Viewer) -> dict[str, st.Page]:
    """What this viewer has, by path. A page that is not among them does not exist for them, whatever the URL says."""
    listed = (*ADMINISTRATORS, *EVERYBODY) if viewer.admin else EVERYBODY
    return {
        path: st.Page(
            partial(show, state), title=title, icon=f":material/{icon}:", url_path=path, default=(path == listed[0][0])
        )
        for path, title, icon, show in listed
    }


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """Once in this process, after its first page: whatever is loaded by now stays for good.

    Streamlit looks for garbage in all that there is after each refresh, modules included. That took 80 ms of processor
    time, many times what the refresh itself takes; 20 of them where it was not looked at before the first page, with
    which Streamlit loads what it draws with.
    """
    gc.collect()
    gc.freeze()


def main() -> None:
    state = State(Path(os.environ["CUPSFLEET_STATE_DIR"]))
    viewer = access.require(state)
    kiosk = "kiosk" in st.query_params
    st.html(Path(__file__).with_name("style.css"))
    if kiosk:
        st.html(Path(__file__).with_name("kiosk.css"))
    found = pages(state, viewer)
    chosen = st.navigation(list(found.values()), position="hidden" if kiosk else "top")
    content, foot = st.container(), st.container(horizontal=True, vertical_alignment="center", key="foot")
    with foot:
        times.zone_switch()
        st.caption(f"Signed in as {viewer.name}{', administrator' if viewer.admin else ''}")
    with content:
        chosen.run()
    settle()


st.set_page_config(page_title="cupsfleet", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide")
main()
