"""Is this node alive?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.config import Health
from controller.snapshot import NodeSight


class Life(StrEnum):
    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """It does not answer, and that proves nothing yet."""


@dataclass(frozen=True)
class Verdict:
    life: Life
    reason: str


def judge(sight: NodeSight, health: Health) -> Verdict:
    """A node is dead when its process is gone, or when prober and every proxy have heard nothing for `dead_after`.

    One view alone is no proof: a prober can lie, a proxy can have lost its own network.
    """
    if sight.alive is False:
        return Verdict(Life.DEAD, "its server process is gone")
    if sight.answers:
        return Verdict(Life.ALIVE, "it answers")
    error = sight.reading.error if sight.reading and sight.reading.error else "no answer yet"
    if sight.silent_for < health.dead_after:
        return Verdict(Life.UNKNOWN, f"no answer for {sight.silent_for:.0f} s ({error})")
    if not sight.proxies:
        return Verdict(Life.UNKNOWN, f"the prober hears nothing ({error}) and no proxy could be asked")
    if any(proxy.up for proxy in sight.proxies):
        return Verdict(Life.UNKNOWN, f"the prober hears nothing ({error}), but a proxy does")
    return Verdict(Life.DEAD, f"silent to the prober and to every proxy for {sight.silent_for:.0f} s ({error})")
