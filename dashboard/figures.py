"""Figures with their recent past, as one piece of HTML.

Streamlit's own draw each line with a charting library of a megabyte, for which the first page would have to wait; and
six of them are six messages at each refresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import streamlit as st

WIDTH, HEIGHT = 100.0, 30.0
"""Of a drawing, in its own units; it is as wide as its figure."""
COLOUR = "#3f8f8b"
"""Seen well on light and dark ground."""


@dataclass(frozen=True)
class Figure:
    label: str
    value: str
    about: str
    """What the drawing shows, under it; without one, what the value is."""
    past: Sequence[float] = ()
    bars: bool = False
    """Whether the past is one of amounts, each of its own stretch of time, and not of one value that moves."""


def show(figures: Iterable[Figure]) -> None:
    st.html(f'<dl class="figures">{"".join(map(_figure, figures))}</dl>')


def _figure(one: Figure) -> str:
    drawing = (_bars if one.bars else _line)(one.past) if len(one.past) > 1 else ""
    picture = f'<img src="{_picture(drawing)}" alt="">' if one.past else ""
    return (
        f"<div><dt>{escape(one.label)}</dt><dd>{escape(one.value)}</dd>"
        f"{picture}<dd><small>{escape(one.about)}</small></dd></div>"
    )


def _picture(drawing: str) -> str:
    """Streamlit lets no drawing into a page, but pictures."""
    size = f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill="{COLOUR}" stroke="{COLOUR}">{drawing}</svg>'
    return f"data:image/svg+xml,{quote(svg)}"


def _heights(past: Sequence[float]) -> list[float]:
    """From the bottom, in units of the drawing."""
    most = max(past) or 1.0
    return [value / most * (HEIGHT - 1) for value in past]


def _line(past: Sequence[float]) -> str:
    step = WIDTH / (len(past) - 1)
    points = " ".join(f"{place * step:.1f},{HEIGHT - tall:.1f}" for place, tall in enumerate(_heights(past)))
    return (
        f'<polygon points="0,{HEIGHT:g} {points} {WIDTH:g},{HEIGHT:g}" fill-opacity=".18" stroke="none"/>'
        f'<polyline points="{points}" fill="none" stroke-width="1.5" vector-effect="non-scaling-stroke"/>'
    )


def _bars(past: Sequence[float]) -> str:
    step = WIDTH / len(past)
    stand = (f'x="{place * step:.2f}" y="{HEIGHT - tall:.1f}" height="{tall:.1f}"' for place, tall in _standing(past))
    return "".join(f'<rect {one} width="{0.8 * step:.2f}" stroke="none"/>' for one in stand)


def _standing(past: Sequence[float]) -> Iterable[tuple[int, float]]:
    return ((place, tall) for place, tall in enumerate(_heights(past)) if tall)
