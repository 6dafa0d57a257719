"""What was decided about the fleet's size, and what was not done: kept for `explain`, at any time in the past."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from controller.event_words import action
from controller.plan import Plan
from controller.store import Store

AT_LEAST_EVERY = 300.0
"""Seconds after which a pass is written down although nothing changed."""
LATE = 120.0
"""Seconds by which that may be late: there may be a minute between two passes."""
_NUMBER = re.compile(r"(?<![\w-])\d+(\.\d+)?")
"""Seconds, jobs and the like, which are others at each pass; not the one of a node's name."""


@dataclass
class Diary:
    store: Store
    _last: tuple[Any, ...] = ()
    _written: float = field(default=float("-inf"))

    def keep(self, plan: Plan) -> None:
        """Write down a pass whose decision differs from the one before. Within a transaction."""
        scale, now = plan.scale, time.monotonic()
        notes, clamps = ([_NUMBER.sub("", said) for said in sentences] for sentences in (plan.notes, scale.clamps))
        essence = (scale.desired, scale.actual, scale.rule, clamps, plan.steps, notes)
        if essence == self._last and now - self._written < AT_LEAST_EVERY:
            return
        self._last, self._written = essence, now
        actions = [f"{step.kind} {step.node}".strip() + f": {step.reason}" for step in plan.steps]
        row = {**asdict(scale), "actions": actions, "held_back": list(plan.notes)}
        values = [time.time(), json.dumps(row)]
        self.store.execute("insert into scalings (at, decided) values (?, ?)", values)


def told(store: Store, limit: int, until: float | None = None) -> list[dict[str, Any]]:
    """Passes, newest first: when, desired, actual, rule (the winner), reason, inputs, asks, clamps, actions, held_back.

    until: those up to this moment (seconds since 1970) only. Each stands until the next one. Raises StoreError.
    """
    where, values = ("where at <= ?", [until]) if until is not None else ("", [])
    rows = store.rows(f"select at, decided from scalings {where} order by id desc limit ?", [*values, limit])
    return [{"at": row["at"], **json.loads(row["decided"])} for row in rows]


def silent_since(at: float, until: float) -> bool:
    """Whether no controller looked at a moment, where the last pass that is written down is that of `at`."""
    return until - at > AT_LEAST_EVERY + LATE


def in_words(passed: dict[str, Any]) -> list[str]:
    """One pass as lines: what was seen, what each rule asked, the winner, the bounds, what was done or why nothing."""
    serve = "1 server serves" if passed["actual"] == 1 else f"{passed['actual']} servers serve"
    lines = [f"{serve}, {passed['desired']} should: {passed['reason']}"]
    lines += [f"  seen    {one['name']}: {one['value']} ({one['age']:.1f} s old)" for one in passed["inputs"]]
    winner = max(passed["asks"], key=lambda ask: ask["nodes"], default=None)
    for one in passed["asks"]:
        won = ", which won" if one is winner else ""
        lines.append(f"  asked   {one['rule']}: {one['nodes']}, for {one['reason']}{won}")
    lines += [f"  bound   {clamp}" for clamp in passed["clamps"]]
    lines += [f"  held    {note}" for note in passed["held_back"]]
    done = [action(recorded) for recorded in passed["actions"]]
    return lines + [f"  done    {said}" for said in done or [f"nothing, for {passed['reason']}"]]
