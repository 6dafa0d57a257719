"""Values for tests, made with what matters and sensible rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.config import Nodes, Settings
from controller.decide.backlog import backlog
from controller.jobs.table import Job
from controller.snapshot import Cause, Command, Goal, Node, NodeSight, NodeState, ProxySight, Snapshot
from probes.reading import OpenJob, QueueReading, Reading

QUEUES = "fingerprint"


def settings(minimum: int = 2, maximum: int = 8, existing: tuple[str, ...] = ()) -> Settings:
    return Settings(nodes=Nodes(min=minimum, max=maximum, existing=existing))


def queue(name: str = "office", state: int = 3, accepting: bool = True, reasons: tuple[str, ...] = ()) -> QueueReading:
    return QueueReading(name, state, reasons, accepting, queued=0)


def reading(node: str, jobs: int = 0, error: str | None = None, **seen: Any) -> Reading:
    values: dict[str, Any] = {"latency": None if error else 0.01, "queues": () if error else (queue(),), **seen}
    return Reading(
        node=node,
        at=0.0,
        error=error,
        jobs=tuple(job(number) for number in range(jobs)),
        **values,
    )


def job(number: int) -> OpenJob:
    return OpenJob(
        id=1_000_001 + number,
        uuid=f"urn:uuid:{number}",
        queue="office",
        owner="demo",
        state=3,
        size_kb=1,
        created=0,
        state_reasons=(),
    )


def sight(
    slot: int = 1,
    state: NodeState = NodeState.READY,
    goal: Goal = Goal.SERVE,
    jobs: int = 0,
    error: str | None = None,
    up: bool = True,
    deaths: int = 0,
    driver: str = "process",
    address: tuple[str, int] | None = None,
    queues: str = QUEUES,
    sessions: int | None = 0,
    goal_by: Cause = Cause.ORDER,
    **seen: Any,
) -> NodeSight:
    """A node as seen in a pass. `error` makes it silent, `up` is what the one proxy says of it."""
    host, port = address or ("127.0.0.1", 6000 + slot)
    node = Node(f"node-{slot}", slot, driver, host, port, state=state, goal=goal, deaths=deaths, queues=queues)
    node = replace(node, goal_by=goal_by)
    defaults: dict[str, Any] = {
        "alive": None if driver == "existing" else True,
        "reading": reading(node.name, jobs, error),
        "proxies": (ProxySight(1, up, sessions, "L7OK" if up else "L4TOUT"),),
        "idle_readings": 0 if jobs or error else 10,
        "in_state": 60.0,
    }
    seen = {**defaults, **seen}
    return NodeSight(node=node, **{"backlog": backlog(seen["reading"], {}), **seen})


def snapshot(
    *sights: NodeSight,
    commands: tuple[Command, ...] = (),
    free_slots: tuple[int, ...] = (8, 9),
    proxies_obey: bool = True,
    **seen: Any,
) -> Snapshot:
    """A look by a prober whose canary answers, unless `seen` says otherwise."""
    number = max([0, *(int(sight.node.name[5:]) for sight in sights)]) + 1
    seen = {"canary": reading("canary"), "gap": 1.0, **seen}
    return Snapshot(sights, commands, free_slots, number, QUEUES, proxies_obey=proxies_obey, **seen)


def command(verb: str, argument: str = "", age: float = 1.0, state: str = "asked", node: str = "") -> Command:
    return Command(7, verb, argument, "admin", age, state, node)


def printed_at_one_device(begin: int) -> list[Job]:
    """Ten that printed alone, and twenty two by two, twice as long each. begin: seconds since 1970."""
    alone = [(begin + 20 * n, begin + 20 * n + 5) for n in range(10)]
    beside = [(begin + 300 + 10 * n, begin + 310 + 10 * n) for n in range(10)] * 2
    return [
        Job(f"one-device-{n}", n, "node-1", "office", "a", "", "completed", "", "", 1, 5, begun, begun, end)
        for n, (begun, end) in enumerate([*alone, *beside])
    ]
