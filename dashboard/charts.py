"""Charts over time. A chart's specification stays the same from refresh to refresh, so that only its data moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import streamlit as st

from controller.simulate.trial import Trial
from dashboard.times import DAY, Span, in_utc

Row = dict[str, Any]
QUEUE, READY = "Jobs in the queue", "Nodes ready"
_GAP = 3.0
"""Samples that lie further apart than so many of the usual steps have nothing between them: nobody looked."""


def fleet(samples: Sequence[Row], events: Iterable[Row], span: Span, wall: bool = False) -> None:
    """Queue depth and nodes over time, with the moments at which the fleet's size was changed and why.

    samples: at, queue_depth, ready. events: at, node, kind and text. wall: to be read from across the room.
    """
    height = 400 if wall else 300
    rows = [_sample(row) for row in with_gaps(samples)]
    rows += [{"what": "edge", "at": _milliseconds(moment)} for moment in (span.since, span.until)]
    rows += [{"what": "event", "at": _milliseconds(row["at"]), "said": said(row)} for row in events]
    st.vega_lite_chart(
        rows,
        {**_fleet_spec(height, "%H:%M" if span.until - span.since <= DAY else "%-d %b"), "config": _letters(wall)},
        key="fleet-chart",
        width="stretch",
        height=height,
        alt=f"Jobs in the queue and nodes ready over the last {span.name}, with changes of the fleet's size marked",
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


def _fleet_spec(height: int, clock: str) -> Row:
    time = {
        "field": "at",
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc" if in_utc() else "time"},
        "axis": {"grid": False, "labelOverlap": True, "format": clock, "tickCount": 12},
    }
    samples = [{"filter": "datum.what === 'sample'"}]
    events = [{"filter": "datum.what === 'event'"}]
    told = [{"field": "at", "type": "temporal", "title": "at", "format": "%-d %b, %H:%M:%S"}]
    whole = {"tickMinStep": 1, "format": "d", "titlePadding": 8}
    return {
        "height": height,
        "layer": [
            {
                "mark": {"type": "point", "opacity": 0},
                "transform": [{"filter": "datum.what === 'edge'"}],
                "encoding": {"x": time},
            },
            {
                "transform": samples,
                "mark": {"type": "area", "line": True, "opacity": 0.25, "tooltip": True},
                "encoding": {
                    "x": time,
                    "y": {
                        "field": "queue",
                        "type": "quantitative",
                        "scale": {"domain": {"unionWith": [0, 1]}},
                        "axis": {**whole, "title": QUEUE},
                    },
                    "color": {"datum": QUEUE},
                    "tooltip": [*told, {"field": "queue", "title": QUEUE, "format": ".1f"}],
                },
            },
            {
                "transform": samples,
                "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2, "tooltip": True},
                "encoding": {
                    "x": time,
                    "y": {
                        "field": "ready",
                        "type": "quantitative",
                        "scale": {"domain": {"unionWith": [0, 1]}},
                        "axis": {**whole, "title": READY, "orient": "right", "grid": False},
                    },
                    "color": {"datum": READY},
                    "tooltip": [*told, {"field": "ready", "title": READY, "format": ".1f"}],
                },
            },
            {
                "transform": events,
                "mark": {"type": "rule", "strokeDash": [3, 3], "color": "gray"},
                "encoding": {"x": time, "tooltip": [*told, {"field": "said", "title": "why"}]},
            },
            {
                "transform": events,
                "mark": {"type": "point", "shape": "triangle-down", "filled": True, "size": 90},
                "encoding": {"x": time, "y": {"value": 4}, "tooltip": [*told, {"field": "said", "title": "why"}]},
            },
        ],
        "resolve": {"scale": {"y": "independent"}},
    }


def _letters(wall: bool) -> Row:
    """Streamlit's own are too pale and too small for some eyes."""
    colour = "#c3ccd0" if st.context.theme.type == "dark" else "#3c4a50"
    size = 18 if wall else 12
    letters = {"labelColor": colour, "labelFontSize": size}
    return {
        "legend": {**letters, "orient": "top", "title": None},
        "axis": {**letters, "titleColor": colour, "titleFontSize": size},
    }


def sizes(present: Trial, changed: Trial) -> None:
    """Two simulations: how many nodes there were, above the jobs that came."""
    rows = [
        {"what": what, "at": _milliseconds(at), "nodes": nodes}
        for what, one in (("as configured", present), ("with the sliders", changed))
        for at, nodes in one.sizes
    ]
    rows += [{"what": "jobs", "at": _milliseconds(at), "jobs": jobs} for at, jobs in present.arrivals]
    x = {"field": "at", "type": "temporal", "title": None, "scale": {"type": "utc" if in_utc() else "time"}}
    spec = {
        "layer": [
            {
                "transform": [{"filter": "datum.what === 'jobs'"}],
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
                    "y": {"field": "nodes", "type": "quantitative", "axis": {"title": "Nodes", "tickMinStep": 1}},
                    "color": {"field": "what", "type": "nominal", "legend": {"orient": "top", "title": None}},
                    "strokeDash": {"field": "what", "type": "nominal", "legend": None},
                },
            },
        ],
        "resolve": {"scale": {"y": "independent"}},
    }
    st.vega_lite_chart(
        rows, spec, key="sizes-chart", width="stretch", height=280, alt="Nodes over time in the simulation"
    )
