"""Fleets with so much to do, and what is decided about their size."""

from __future__ import annotations

from controller.config import Nodes, Scaling, Settings
from controller.decide import decide
from controller.plan import Aim, Order, Plan
from controller.snapshot import Backlog, Load, NodeSight, QueueWork
from tests.builders import sight, snapshot

KNOWN = Load(known_for=1000.0)
"""Nothing was asked for in the whole window."""
FREE = tuple(range(20, 40))


def with_scaling(minimum: int = 2, maximum: int = 8, **scaling) -> Settings:
    """By counted jobs, unless another policy is named: what holds for any is easier to see there."""
    return Settings(nodes=Nodes(min=minimum, max=maximum), scaling=Scaling(**{"policy": "threshold", **scaling}))


def loaded(slot: int, jobs: int, seconds: float | None = None, stuck: int = 0, **seen) -> NodeSight:
    work = QueueWork("office", jobs, 5.0 * jobs if seconds is None else seconds)
    return sight(slot, backlog=Backlog((work,), stuck), **seen)


def plan(*sights: NodeSight, load: Load = KNOWN, settings: Settings | None = None, **rest) -> Plan:
    return decide(snapshot(*sights, load=load, free_slots=FREE, **rest), settings or with_scaling())


def orders(found: Plan) -> int:
    return sum(isinstance(step, Order) for step in found.steps)


def leaving(found: Plan) -> list[str]:
    return [step.node for step in found.steps if isinstance(step, Aim) and step.goal == "retire"]
