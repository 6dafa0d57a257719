"""Scaling: what the fleet's size goes by, why it will be as it will be, and what other thresholds would do."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import streamlit as st

from controller.event_words import action
from controller.state import State
from controller.views import Trial, Trials
from controller.views.fleet_words import doing
from controller.views.phrases import DAY, capital, lasting
from dashboard import charts, tasks
from dashboard import viewer as access
from dashboard.components import FIGURES, badge, heading, nothing, plain, section, seen, stale_note
from dashboard.tables import table
from dashboard.times import clock

N = TypeVar("N", int, float)
TRACES = {"the last day": DAY, "the last week": 7 * DAY, "the last 4 weeks": 28 * DAY, "a made-up week": 0.0}
POLICIES = ("wait-target", "threshold")
ROWS = {
    "jobs": "jobs",
    "p50": "half of them waited at most, s",
    "p95": "95 % waited at most, s",
    "p99": "99 % waited at most, s",
    "over": "beyond the target, %",
    "node_hours": "server-hours",
    "cost": "cost of the servers",
    "most_nodes": "most servers at once",
    "actions": "servers that came or went",
    "undone": "of them in vain",
}
"""What is told of a simulation, in this order."""


def show(state: State) -> None:
    heading("Scaling")
    _standing(state)
    _simulator(state)


@st.fragment(run_every=FIGURES)
def _standing(state: State) -> None:
    with access.administrator(state) as views:
        status, known = views.status(), views.scaling()
    stale_note(status)
    with seen(status, "scaling"):
        _now(state, status["scaling"])
        section("Why")
        _why(known["decided"])
    section("Thresholds")
    if known["thresholds"]:
        st.caption("As the controller read them; they are changed in `fleet.toml`, which is read again at once.")
        with st.expander("Thresholds and where each comes from", key="thresholds"):
            table(known["thresholds"], "Thresholds")
    else:
        nothing("The controller has not told its settings yet. Start it with `./cupsfleet up`")


def _now(state: State, scaling: dict[str, Any]) -> None:
    if not scaling:
        return
    paused = scaling["paused_by"]
    marks = badge("task", "refused", "paused") + " " if paused else ""
    marks += badge("task", "refused", "dry run") + " " if scaling["dry_run"] else ""
    verb, icon = ("resume", "play_arrow") if paused else ("pause", "pause")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(marks + plain(doing(scaling)), width="stretch")
        if st.button(f"{verb.capitalize()} scaling", key="pause", icon=f":material/{icon}:", help=_HELP[verb]):
            tasks.ask(state, verb, "scaling")


_HELP = {
    "pause": "Until it is resumed the load changes nothing; `nodes.min` is kept, and servers that die come back.",
    "resume": "From then on servers are added and taken away again as the work asks for.",
}


def _why(decided: dict[str, Any] | None) -> None:
    """The last decision: what was seen, what each rule asked for, what bounded it, what was done."""
    if decided is None:
        nothing("Nothing was decided yet.")
        return
    since = time.time() - decided["at"]
    st.caption(f"Decided at {clock(decided['at'])}, by what was seen then. It stands until something else is decided.")
    left, right = st.columns(2)
    with left:
        rows = [
            {"seen": one["name"], "value": one["value"], "age": lasting(one["age"] + since)}
            for one in decided["inputs"]
        ]
        table(rows, "What was seen")
    with right:
        rows = [
            {
                "rule": one["rule"],
                "servers": one["nodes"],
                "won": "yes" if one["rule"] == decided["rule"] else "",
                "because": one["reason"],
            }
            for one in decided["asks"]
        ]
        table(rows, "What each rule asked for")
    said = [f"- Bounded to {plain(one)}" for one in decided["clamps"]]
    said += [f"- Held back: {plain(one)}" for one in decided["held_back"]]
    done = [action(one) for one in decided["actions"]]
    said += [f"- Done: {plain(one)}" for one in done or [f"nothing, for {decided['reason']}"]]
    st.markdown("\n".join(said))


def _simulator(state: State) -> None:
    """Its answer is kept for the session, so that it stays while sliders are moved."""
    section("Simulator")
    with access.administrator(state) as views:
        known = {row["name"]: row["value"] for row in views.scaling()["thresholds"]}
        starts = views.starts_in()
    if not known:
        nothing("There are no settings to start from yet.")
        return
    st.caption(
        "Other thresholds against what was printed here. Nothing is changed; timetable and holidays are left out."
    )
    with st.form("simulator"):
        trace, start_up, changes = _asked(known, starts)
        if st.form_submit_button("Simulate", type="primary", icon=":material/science:"):
            _simulate(state, TRACES[trace], start_up, changes)
    if found := st.session_state.get("trials"):
        _told(found)


def _asked(known: dict[str, str], starts: float) -> tuple[str, float, dict[str, Any]]:
    """The sliders, which begin at the present values; what is chosen stands in the URL. starts: seconds that a server
    takes to start."""
    left, middle, right = st.columns(3)
    least, most = int(known["nodes.min"]), int(known["nodes.max"])
    with left:
        trace = _choice("Jobs of", "jobs", list(TRACES), 1)
        bounds = st.slider("Servers", 1, max(20, 2 * most), (least, most), key="servers", bind="query-params")
        start_up = _slider("A server starts in, s", "starts", 1, 300, math.ceil(starts))
    with middle:
        policy = _choice("Policy", "policy", POLICIES, POLICIES.index(known["scaling.policy"]))
        up = _slider(
            "Add one at more jobs for each", "up", 0.5, 20.0, float(known["scaling.queue_depth_per_node"]), 0.5
        )
        down = float(known["scaling.queue_depth_per_node_down"])
        down = _slider("Let one go at fewer jobs for each", "down", 0.0, 19.5, down, 0.5)
    with right:
        target = _slider("Target wait, s", "target", 1, 600, int(_seconds(known["scaling.target_wait"])))
        cool_down = int(_seconds(known["scaling.cool_down"]))
        cool_down = _slider("Cool down, s", "cool", 0, 3600, cool_down, 30, help=_cool_down(known))
        step = _slider("Servers on their way at once", "step", 1, 20, int(known["scaling.step"]))
    changes = {
        "nodes.min": bounds[0],
        "nodes.max": bounds[1],
        "scaling.policy": policy,
        "scaling.queue_depth_per_node": up,
        "scaling.queue_depth_per_node_down": down,
        "scaling.target_wait": target,
        "scaling.cool_down": cool_down,
        "scaling.step": step,
    }
    return trace, float(start_up), changes


def _choice(label: str, key: str, options: Sequence[str], index: int) -> str:
    return st.selectbox(label, options, index=index, key=key, bind="query-params")


def _slider(label: str, key: str, least: N, most: N, value: N, step: N | None = None, help: str | None = None) -> N:
    """Between what is offered, whatever the configuration says."""
    return st.slider(label, least, most, min(max(value, least), most), step, key=key, help=help, bind="query-params")


def _cool_down(known: dict[str, str]) -> str | None:
    if not (starts := float(known["scaling.cool_down_starts"])):
        return None
    return f"By the policy wait-target at most {starts:g} times what a server starts in; more changes nothing there."


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def _simulate(state: State, seconds: float, start_up: float, changes: dict[str, Any]) -> None:
    st.session_state.pop("trials", None)
    try:
        with st.spinner("Simulating…"), access.administrator(state) as views:
            trials = views.trials(seconds, changes, start_up)
    except ValueError as error:
        st.warning(plain(str(error)), icon=":material/warning:")
        return
    st.session_state["trials"] = trials


def _told(found: Trials) -> None:
    if found.left_out:
        said = "\n".join(f"- {plain(capital(sentence))}" for sentence in found.left_out)
        st.warning(f"What this simulation does not know:\n{said}", icon=":material/warning:")
    charts.sizes(found.present, found.changed)
    table(
        [
            {"": words, "as configured": _value(found.present, name), "with the sliders": _value(found.changed, name)}
            for name, words in ROWS.items()
        ],
        "What the simulation came to",
    )


def _value(found: Trial, name: str) -> str:
    value = found.found[name]
    if name == "over":
        return f"{100 * value:.1f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if name != "cost" else f"{value:,.2f}"
