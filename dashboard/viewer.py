"""Who looks at the page. Only the front door can say so, and only it knows the secret that proves it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import streamlit as st

from controller.state import State


def authenticated(headers: Mapping[str, str], state: State) -> str | None:
    """The name that logged in at the door; None for a request that did not come through it."""
    shown = headers.get("X-Fleet-Secret", "").encode()
    name = headers.get("X-Fleet-User", "")
    return name if name and hmac.compare_digest(shown, state.secret().encode()) else None


def require(state: State) -> str:
    """The administrator's name; ends the page for everybody else."""
    name = authenticated(st.context.headers, state)
    if name is None:
        st.error("This page is reached through the front door only: https://HOST:PORT/fleet/")
        st.stop()
    return name
