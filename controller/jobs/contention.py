"""Whether jobs of a queue print side by side, or wait for each other at one device: measured from when they printed.

A node is busy with a job until its printer has taken it. Where several nodes print to one printer, a job takes the
longer the more others print beside it, and another node brings nothing. What a job takes is explained, by least
squares, by its pages and by how many others printed meanwhile; the slope of the latter, as a share of what a job takes
alone, is the contention of Gunther's Universal Scalability Law.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean
from typing import NamedTuple

FEW = 8
"""Fewer jobs say nothing."""
ERRORS = 2.0
"""Standard errors of the slope that are taken off: only what is surely no chance counts."""


class Printed(NamedTuple):
    """When a job printed."""

    begin: float
    """Seconds since 1970, as is `end`."""
    end: float
    pages: int
    """0 for not known."""


def contention(prints: Sequence[Printed]) -> float:
    """By what share of itself a job surely takes longer for each other one that prints meanwhile: 0 side by side, 1 one
    after the other. prints: of one queue, on all nodes."""
    known = [one for one in prints if one.end > one.begin]
    if len(known) < FEW:
        return 0.0
    beside = _beside(known)
    pages = [float(one.pages) for one in known]
    seconds = [one.end - one.begin for one in known]
    slope = _sure_slope(_without(beside, pages), _without(seconds, pages))
    others = fmean(beside)
    alone = max(fmean(seconds) - slope * others, fmean(seconds) / (1 + others))
    return min(1.0, slope / alone)


def _beside(prints: Sequence[Printed]) -> list[float]:
    """How many others printed during each, on average over its time."""
    changes = sorted([(one.begin, 1) for one in prints] + [(one.end, -1) for one in prints])
    moments = [at for at, _ in changes]
    counts = list(accumulate(change for _, change in changes))
    spent = [0.0, *accumulate(n * (b - a) for n, a, b in zip(counts, moments, moments[1:], strict=False))]
    # What all have spent by a moment at which some job begins or ends.
    by = {at: spent[bisect_right(moments, at) - 1] for at in moments}
    return [(by[one.end] - by[one.begin]) / (one.end - one.begin) - 1 for one in prints]


def _without(values: Sequence[float], explained_by: Sequence[float]) -> list[float]:
    """What is left of the values when a straight line by something else is taken off."""
    mean, middle = fmean(values), fmean(explained_by)
    spread = sum((x - middle) ** 2 for x in explained_by)
    slope = sum((x - middle) * y for x, y in zip(explained_by, values, strict=True)) / spread if spread else 0.0
    return [y - mean - slope * (x - middle) for x, y in zip(explained_by, values, strict=True)]


def _sure_slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the straight line through both, which have a mean of 0: what is left when ERRORS are taken off."""
    spread = sum(x * x for x in xs)
    if spread < 1e-9:
        return 0.0
    slope = sum(x * y for x, y in zip(xs, ys, strict=True)) / spread
    left = sum((y - slope * x) ** 2 for x, y in zip(xs, ys, strict=True)) / (len(xs) - 3)
    return max(0.0, slope - ERRORS * math.sqrt(left / spread))
