"""Who looks at the page. Only the front door can say so, and only it knows the secret that proves it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import streamlit as st

from controller.state import State
from controller.users import UserError, Users


def authenticated(headers: Mapping[str, str], state: State) -> str | None:
    """The name that logged in at the door; None for a request that did not come through it."""
    shown = headers.get("X-Fleet-Secret", "").encode()
    name = headers.get("X-Fleet-User", "")
    return name if name and hmac.compare_digest(shown, state.secret().encode()) else None


def refusal(state: State) -> str:
    """Why this page is not shown, or '' when it is. Asked at every refresh: who was removed keeps no open tab."""
    name = authenticated(st.context.headers, state)
    if name is None:
        return "This page is reached through the front door only: https://HOST:PORT/fleet/"
    try:
        if any(user.name == name and user.admin for user in Users(state.users).all()):
            return ""
    except (UserError, OSError) as error:
        return f"Nobody can be let in here, because the user list can't be read: {error}"
    return f"{name} is no administrator any more."


def require(state: State) -> str:
    """The administrator's name; ends the page for everybody else."""
    if why := refusal(state):
        st.error(why)
        st.stop()
    return authenticated(st.context.headers, state) or ""
