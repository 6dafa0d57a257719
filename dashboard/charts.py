"""Charts over time. A chart's specification stays the same from refresh to refresh, so that only its data moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import streamlit as st

from controller.views import Trial
from controller.views.phrases import DAY, HOUR
from dashboard.times import Span, in_utc

Row = dict[str, Any]
QUEUE, READY, CHANGED = "Jobs in the queue", "Servers ready", "Size changed"
_GAP = 3.0
"""Samples that lie further apart than so many of the usual steps have nothing between them: nobody looked."""


def fleet(samples: Sequence[Row], events: Iterable[Row], span: Span, wall: bool = False) -> None:
    """Queue depth and nodes over time, with the moments at which the fleet's size was changed and why.

    samples: at, queue_depth, ready. events: at, node, kind and text. wall: to be read from across the room.
    """
    height = 310 if wall else 300
    rows = [_sample(row) for row in with_gaps(samples)]
    rows += [{"what": "edge", "at": _milliseconds(moment)} for moment in (span.since, span.until)]
    rows += [{"what": "event", "at": _milliseconds(row["at"]), "said": said(row)} for row in events]
    st.vega_lite_chart(
        rows,
        {**_fleet_spec(height, _clock(span.until - span.since)), "config": _letters(wall)},
        key="fleet-chart",
        width="stretch",
        height=height,
        alt=f"Jobs in the queue and servers ready over the last {span.name}, with changes of the fleet's size marked",
    )


def said(event: Row) -> str:
    return f"{event['node']} {'ordered' if event['kind'] == 'order' else 'drains'}: {event['text']}"


def with_gaps(samples: Sequence[Row]) -> list[Row]:
    """The samples, with an empty one wherever some are missing: a line must not lead over what nobody saw."""
    moments = [row["at"] for row in samples]
    steps = sorted(later - earlier for earlier, later in pairwise(moments))
    usual = steps[len(steps) // 2] if steps else 0.0
    found: list[Row] = []
    for row in samples:
        if found and row["at"] - found[-1]["at"] > _GAP * usual:
            found.append({"at": found[-1]["at"] + usual})
        found.append(row)
    return found


def _sample(row: Row) -> Row:
    return {
        "what": "sample",
        "at": _milliseconds(row["at"]),
        "queue": row.get("queue_depth"),
        "ready": row.get("ready"),
    }


def _milliseconds(at: float) -> int:
    return int(at * 1000)


def _clock(seconds: float) -> str:
    """How an axis that is so long names its moments."""
    if seconds < HOUR / 3:
        return "%H:%M:%S"
    return "%H:%M" if seconds <= DAY else "%-d %b"


def _fleet_spec(height: int, clock: str) -> Row:
    time = _time_axis(clock)
    told = {"field": "at", "type": "temporal", "title": "at", "format": "%-d %b, %H:%M:%S", "scale": _time()["scale"]}
    area = {"type": "area", "line": True, "opacity": 0.25}
    steps = {"type": "line", "interpolate": "step-after", "strokeWidth": 2}
    why = [told, {"field": "said", "title": "why"}]
    return {
        "height": height,
        "layer": [
            {"mark": {"type": "point", "opacity": 0}, **_only("edge"), "encoding": {"x": time}},
            _layer(area, time, told, "queue", QUEUE, {}),
            _layer(steps, time, told, "ready", READY, {"orient": "right", "grid": False}),
            {
                **_only("event"),
                "mark": {"type": "rule", "strokeDash": [3, 3], "color": "gray"},
                "encoding": {"x": time, "tooltip": why},
            },
            {
                **_only("event"),
                "mark": {"type": "point", "shape": "triangle-down", "filled": True, "size": 90},
                "encoding": {"x": time, "y": {"value": 4}, "color": {"datum": CHANGED}, "tooltip": why},
            },
        ],
        "resolve": {"scale": {"y": "independent"}},
    }


def _time() -> Row:
    return {"field": "at", "type": "temporal", "title": None, "scale": {"type": "utc" if in_utc() else "time"}}


def _time_axis(clock: str) -> Row:
    return {**_time(), "axis": {"grid": False, "labelOverlap": True, "format": clock, "tickCount": 12}}


def _only(what: str) -> Row:
    return {"transform": [{"filter": f"datum.what === '{what}'"}]}


def _layer(mark: Row, time: Row, told: Row, field: str, title: str, axis: Row) -> Row:
    """What was sampled of one thing, on an axis of its own."""
    whole = {"tickMinStep": 1, "format": "d", "titlePadding": 8}
    return {
        **_only("sample"),
        "mark": {**mark, "tooltip": True},
        "encoding": {
            "x": time,
            "y": {
                "field": field,
                "type": "quantitative",
                "scale": {"domain": {"unionWith": [0, 1]}},
                "axis": {**whole, "title": title, **axis},
            },
            "color": {"datum": title},
            "tooltip": [told, {"field": field, "title": title, "format": ".1f"}],
        },
    }


def _letters(wall: bool) -> Row:
    """Streamlit's own are too pale and too small for some eyes."""
    colour = "#c3ccd0" if st.context.theme.type == "dark" else "#3c4a50"
    size = 18 if wall else 12
    letters = {"labelColor": colour, "labelFontSize": size}
    return {
        "legend": {**letters, "orient": "top", "title": None, "symbolOpacity": 1, "labelLimit": 300},
        "axis": {**letters, "titleColor": colour, "titleFontSize": size},
    }


def bars(values: Mapping[str, float], title: str, alt: str) -> None:
    """A bar for each name, in this order. title: of the axis, with its unit."""
    rows = [{"name": name, "value": value} for name, value in values.items()]
    height = 50 + 26 * len(rows)
    axis = {"title": title, "tickCount": 6}
    spec = {
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "y": {"field": "name", "type": "nominal", "title": None, "sort": None},
            "x": {"field": "value", "type": "quantitative", "axis": axis, "title": title},
        },
        "config": _letters(wall=False),
    }
    st.vega_lite_chart(rows, spec, key="bars-chart", width="stretch", height=height, alt=alt)


def sizes(present: Trial, changed: Trial) -> None:
    """Two simulations: how many nodes there were, above the jobs that came."""
    rows = [
        {"what": what, "at": _milliseconds(at), "nodes": nodes}
        for what, one in (("as configured", present), ("with the sliders", changed))
        for at, nodes in one.sizes
    ]
    rows += [{"what": "jobs", "at": _milliseconds(at), "jobs": jobs} for at, jobs in present.arrivals]
    x = _time_axis(_clock(present.sizes[-1][0] - present.sizes[0][0]))
    spec = {
        "layer": [
            {
                **_only("jobs"),
                "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.15, "color": "gray"},
                "encoding": {
                    "x": x,
                    "y": {
                        "field": "jobs",
                        "type": "quantitative",
                        "axis": {"title": "Jobs that came", "orient": "right"},
                    },
                },
            },
            {
                "transform": [{"filter": "datum.what !== 'jobs'"}],
                "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
                "encoding": {
                    "x": x,
                    "y": {"field": "nodes", "type": "quantitative", "axis": {"title": "Servers", "tickMinStep": 1}},
                    "color": {"field": "what", "type": "nominal", "legend": {"orient": "top", "title": None}},
                    "strokeDash": {"field": "what", "type": "nominal", "legend": None},
                },
            },
        ],
        "resolve": {"scale": {"y": "independent"}},
        "config": _letters(wall=False),
    }
    st.vega_lite_chart(
        rows, spec, key="sizes-chart", width="stretch", height=280, alt="Servers over time in the simulation"
    )
