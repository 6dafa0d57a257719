"""What several pages show: states with word, icon and colour, untrusted text as it is, and honest emptiness."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NoReturn, TypeVar

import streamlit as st

from controller.state import State
from controller.views import Views
from controller.views.export import csv_text
from controller.views.fleet_words import age_of
from controller.views.phrases import capital, lasting
from dashboard import viewer as access
from dashboard.times import clock

T = TypeVar("T")
AT_ONCE, LIVE = "500ms", "2s"
"""Between two refreshes of the first lines, and of what else is watched. What dies shows within a second: the
controller is woken by it."""
FIGURES = "5s"
"""Between two refreshes of figures with their recent past."""
SLOW = "15s"
"""Between two refreshes of charts and long lists."""
PROBLEMS_SHOWN = 4
MARKS = {
    "good": ":green[:material/check_circle:]",
    "doubt": ":orange[:material/warning:]",
    "bad": ":red[:material/error:]",
}
"""Before a sentence about the fleet, by its mood (fleet_words.py)."""
_MARKS = {
    "node": {
        "ready": ("green", "check_circle"),
        "unhealthy": ("red", "sick"),
        "disputed": ("violet", "contrast"),
        "unknown": ("gray", "help"),
        "draining": ("blue", "hourglass_top"),
        "leaving": ("blue", "logout"),
        "stopped": ("gray", "stop_circle"),
        "rescuing": ("red", "move_up"),
        "dead": ("red", "error"),
        "proving": ("orange", "fact_check"),
        "starting": ("orange", "play_circle"),
        "ordered": ("orange", "schedule"),
        "retired": ("gray", "archive"),
    },
    "job": {
        "pending": ("blue", "schedule"),
        "held": ("orange", "pause_circle"),
        "processing": ("green", "print"),
        "stopped": ("red", "report"),
        "canceled": ("gray", "cancel"),
        "aborted": ("red", "error"),
        "completed": ("gray", "task_alt"),
        "lost": ("red", "search_off"),
    },
    "task": {
        "asked": ("blue", "schedule"),
        "running": ("blue", "progress_activity"),
        "done": ("green", "task_alt"),
        "refused": ("orange", "block"),
        "failed": ("red", "error"),
    },
}


def badge(of: str, state: str, said: str = "") -> str:
    """A state of a node, a job or a task as Markdown: its word, or what is said instead, its icon and its colour."""
    colour, icon = _MARKS[of].get(state, ("gray", "circle"))
    return f":{colour}-badge[:material/{icon}: {said or state}]"


def tally(of: str, counts: Mapping[str, int]) -> None:
    """How many nodes or jobs are in each state. Those of which there is none have no colour, so as to alarm nobody."""
    st.markdown(" ".join(badge(of, word if count else "", f"{count} {word}") for word, count in counts.items()))


def plain(text: str) -> str:
    """Markdown that shows this very text; only numbered steps and what stands in backticks keep their form."""
    parts = re.split(r"(`[^`\n]*`)", text)
    return "".join(
        part if place % 2 else re.sub(r"([\\$*_~<\[\]]|:(?=\S))", r"\\\1", part) for place, part in enumerate(parts)
    )


def verbatim(text: str) -> str:
    """Markdown that shows what somebody else wrote (a title, a name) on one line, and nothing of it as Markdown."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", line)


def link(path: str, label: str, width: int | Literal["content"] = "content", **query: str) -> None:
    """A link to another page of the dashboard, with what it is to show."""
    page = st.Page(_nowhere, title=path, url_path=path)  # the one in the navigation would bring its icon along
    st.page_link(page, label=label, query_params=query or None, width=width)


def _nowhere() -> None:
    """Stands for a page that is only led to."""


def heading(text: str) -> None:
    """The one first-level heading of a page."""
    st.title(text, anchor=False)


def section(text: str) -> None:
    st.header(text, anchor=False)


@contextmanager
def seen(status: dict[str, Any], key: str) -> Iterator[None]:
    """A part of the page that is greyed while what it shows is old."""
    age = age_of(status)
    with st.container(key=f"stale-{key}" if age is not None else f"fresh-{key}", gap="small"):
        yield


def stale_note(status: dict[str, Any]) -> None:
    """Says from when the greyed values are."""
    if (age := age_of(status)) is not None:
        st.caption(f":material/history: What you see is from {clock(time.time() - age)}, {lasting(age)} ago.")


def problems(said: Sequence[str]) -> None:
    """What is wrong, a box for each, and a word on those that there is no room for."""
    for problem in said[:PROBLEMS_SHOWN]:
        st.warning(plain(capital(problem)), icon=":material/warning:")
    if len(said) > PROBLEMS_SHOWN:
        with st.expander(f"{len(said) - PROBLEMS_SHOWN} more problems", key="more-problems"):
            st.markdown(
                "\n".join(f"- {plain(capital(problem.split(chr(10))[0]))}" for problem in said[PROBLEMS_SHOWN:200])
            )


def nothing(text: str, icon: str = "inbox") -> None:
    """An honest empty place."""
    st.info(text, icon=f":material/{icon}:")


def rows_of_page(rows: Sequence[T], size: int, key: str) -> Sequence[T]:
    """Those on the chosen page; the choice stands in the URL."""
    pages = max(1, -(-len(rows) // size))
    if pages == 1:
        return rows
    if st.session_state.get(key, 1) > pages:
        st.session_state[key] = pages
    chosen = st.pagination(pages, key=key, bind="query-params")
    return rows[(chosen - 1) * size : chosen * size]


def page_number() -> int:
    """Which page of a list is shown, counted from 1."""
    return int(st.session_state.get("page", 1))


def first_page() -> NoReturn:
    """Begin anew at the first page, where the one that was shown is no more."""
    st.session_state["page"] = 1
    st.rerun()


def older_and_newer(page: int, more: bool) -> None:
    """The choice of a page of a list whose length is not known; it stands in the URL."""
    if page > 1 or more:
        st.pagination(page + more, key="page", bind="query-params")


def downloads(state: State, name: str, rows: Callable[[Views], list[dict[str, Any]]]) -> None:
    """What the page shows, to take away. `rows` is called at the click, when there is no page and no session."""
    kinds = (("CSV", _as_csv, "text/csv"), ("JSON", _as_json, "application/json"))
    with st.container(horizontal=True):
        for kind, written, mime in kinds:
            st.download_button(
                kind,
                access.download(state, partial(_written, written, rows)),
                file_name=f"{name}.{kind.lower()}",
                mime=mime,
                key=f"{name}-{kind}",
                icon=":material/download:",
                on_click="ignore",
            )


def _written(
    write: Callable[[list[dict[str, Any]]], str], rows: Callable[[Views], list[dict[str, Any]]], views: Views
) -> str:
    return write(rows(views))


def _as_csv(rows: list[dict[str, Any]]) -> str:
    return csv_text(rows, list(rows[0]) if rows else [])


def _as_json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=2, default=str)
