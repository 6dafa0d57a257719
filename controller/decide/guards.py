"""Why nothing may be taken away now: doubt may add, never remove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.config import Settings
from controller.decide.health import Life, Verdict
from controller.snapshot import NodeState, Snapshot

_COUNTED = (NodeState.READY, NodeState.UNHEALTHY, NodeState.DRAINING, NodeState.DEAD)
"""States in which a node has served and may look bad."""


@dataclass(frozen=True)
class Guard:
    """Reasons as sentences, empty when there is none."""

    prober: str = ""
    """Why what the prober says is not believed."""
    share: str = ""
    """Why so many verdicts at once are not believed."""

    @property
    def held(self) -> str:
        return self.prober or self.share


def guard(snapshot: Snapshot, verdicts: Mapping[str, Verdict], settings: Settings) -> Guard:
    return Guard(prober_trouble(snapshot, settings), _mass_failure(snapshot, verdicts, settings))


def prober_trouble(snapshot: Snapshot, settings: Settings) -> str:
    health, canary = settings.health, snapshot.canary
    if canary is None or canary.error:
        why = canary.error if canary else "it could not be set up"
        return f"nothing is taken away: the prober's canary, which must always answer, does not ({why})"
    if canary.latency is not None and canary.latency > health.slow_after:
        return f"nothing is taken away: the prober itself is slow, its canary answered after {canary.latency:.1f} s"
    if snapshot.gap > health.stale_after:
        return f"nothing is taken away: the controller stood still for {snapshot.gap:.0f} s before this look"
    return ""


def _mass_failure(snapshot: Snapshot, verdicts: Mapping[str, Verdict], settings: Settings) -> str:
    counted = [sight.node.name for sight in snapshot.nodes if sight.node.state in _COUNTED]
    bad = [name for name in counted if verdicts[name].life is not Life.HEALTHY]
    if len(bad) <= settings.health.max_removed_share * len(counted):
        return ""
    said = ", ".join(f"{name} {verdicts[name].life.value}" for name in bad)
    return f"nothing is taken away: {len(bad)} of {len(counted)} servers look bad at once ({said}), so it is not them"
