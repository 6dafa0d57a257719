"""Who looks at the page. Only the front door can say so, and only it knows the secret that proves it.

Nothing is kept of the answer: it is asked for again at every refresh and at every click, so that an open page shows
nothing more, and does nothing more, for somebody who was removed or is an administrator no longer.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st

from controller.state import State
from controller.store import Store, StoreError
from controller.users import UserError, Users
from controller.views import Views


class Refused(Exception):
    """This page is not shown; the message says why."""


@dataclass(frozen=True)
class Viewer:
    name: str
    admin: bool


def authenticated(headers: Mapping[str, str], state: State) -> str | None:
    """The name that logged in at the door; None for a request that did not come through it."""
    shown = headers.get("X-Fleet-Secret", "").encode()
    name = headers.get("X-Fleet-User", "")
    return name if name and hmac.compare_digest(shown, state.secret().encode()) else None


def current(state: State) -> Viewer:
    """Who asked for this refresh, and what the user list says of that name now. Raises Refused."""
    return of_request(st.context.headers, state)


def of_request(headers: Mapping[str, str], state: State) -> Viewer:
    """The same of a request with these headers. Raises Refused."""
    name = authenticated(headers, state)
    if name is None:
        raise Refused("This page is reached through the front door only: https://HOST:PORT/fleet/")
    return _known(state, name)


def _known(state: State, name: str) -> Viewer:
    """What the user list says of a name now. Raises Refused."""
    try:
        found = next((user for user in Users(state.users).all() if user.name == name), None)
    except (UserError, OSError) as error:
        raise Refused(f"Nobody can be let in here, because the user list can't be read: {error}") from None
    if found is None:
        raise Refused(f"{name} is no user any more.")
    return Viewer(found.name, found.admin)


def require(state: State) -> Viewer:
    """Who looks; ends the page for everybody who may not."""
    try:
        return current(state)
    except Refused as refused:
        st.error(str(refused))
        st.stop()


@contextmanager
def administrator(state: State) -> Iterator[Views]:
    """What an administrator may see, for one refresh. For anybody else the whole page runs again, with less in it."""
    with _allowed(state, admin=True) as (views, _):
        yield views


@contextmanager
def person(state: State) -> Iterator[tuple[Views, Viewer]]:
    """For one refresh of a page of one's own: only what carries the viewer's name may be asked for."""
    with _allowed(state, admin=False) as found:
        yield found


def download(state: State, content: Callable[[Views], str]) -> Callable[[], str]:
    """What an administrator takes away, written at the click. No page runs then, so the name is that of the page which
    offers it; whether it is an administrator's is looked up at the click. Raises Refused, at both times."""
    name = current(state).name

    def written() -> str:
        if not _known(state, name).admin:
            raise Refused(f"{name} is no administrator.")
        with Store(state.database) as store:
            return content(Views(state, store))

    return written


@contextmanager
def _allowed(state: State, admin: bool) -> Iterator[tuple[Views, Viewer]]:
    try:
        viewer = current(state)
    except Refused:
        st.rerun()
    if admin and not viewer.admin:
        st.rerun()
    try:
        with Store(state.database) as store:
            yield Views(state, store), viewer
    except StoreError as error:
        st.error(str(error), icon=":material/database_off:")
        st.stop()
