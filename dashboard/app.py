"""The dashboard. The controller starts it; the front door leads to it under /fleet/."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from controller.state import State
from dashboard import fleet_page, viewer

st.set_page_config(page_title="cupsfleet", page_icon=":material/print:", layout="wide")
state = State(Path(os.environ["CUPSFLEET_STATE_DIR"]))
fleet_page.show(state, viewer.require(state))
