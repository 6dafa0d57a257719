"""The publish side: what each pass saw, written down for the readers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from controller.config import Health, Settings
from controller.decide.health import Life, Verdict, printer_faults, verdicts
from controller.decide.leaving import jobs, remaining
from controller.decide.lifecycle import restart_in
from controller.decide.weights import given
from controller.jobs.table import JobTable
from controller.load import PAUSED
from controller.plan import Plan, Scale
from controller.snapshot import NodeSight, NodeState, Snapshot
from controller.store import Store
from controller.views.phrases import counted
from controller.views.printers import IN_SERVICE, in_words, limit_problems, over_limit, printer_problems, standing

_FINISHING = (NodeState.UNHEALTHY, NodeState.DRAINING)
"""States in which it takes no new work and finishes its own."""
_JUDGED = (NodeState.PROVING, *IN_SERVICE)
"""States in which its health is of interest."""
FAULTS_SHOWN = 5
"""Of a node's printers, so many at most: what is published is read at every refresh of every page."""


def publish(store: Store, snapshot: Snapshot, plan: Plan, settings: Settings, problems: list[str]) -> None:
    """Write down what a pass saw, for the readers."""
    judged, stand = verdicts(snapshot, settings), standing(snapshot)
    nodes = [_node_row(sight, judged[sight.node.name], given(sight.node, plan.weights)) for sight in snapshot.nodes]
    sight = {
        "at": time.time(),
        "interval": settings.health.interval,
        "door": {"name": settings.front_door.name, "port": settings.front_door.port},
        "printers": [printer.name for printer in settings.printers],
        "standing": stand,
        "over_limit": over_limit(store, snapshot),
        "nodes": nodes,
        "scaling": _scaling(snapshot, plan.scale, settings, store),
        "limits": {
            "min": settings.nodes.min,
            "max": settings.nodes.max,
            "drain_deadline": settings.nodes.drain_deadline,
        },
        "price_per_hour": str(settings.nodes.price_per_hour * sum(sight.node.state.costs for sight in snapshot.nodes)),
        "problems": [
            *problems,
            *_node_problems(store, snapshot, judged, settings),
            *printer_problems(snapshot, stand, settings),
            *limit_problems(snapshot, settings),
            *plan.notes,
        ],
    }
    with store.transaction():
        store.put_fact("sight", sight)


def _scaling(snapshot: Snapshot, scale: Scale, settings: Settings, store: Store) -> dict[str, Any]:
    """paused_by: '' when it is not paused. clamps: bounds that made `desired` another number than the rules asked."""
    return {
        "desired": scale.desired,
        "actual": _serving(snapshot),
        "reason": scale.reason,
        "policy": settings.scaling.policy,
        "rule": scale.rule,
        "clamps": list(scale.clamps),
        "paused_by": str(store.fact(PAUSED) or ""),
        "dry_run": settings.scaling.dry_run,
    }


def _serving(snapshot: Snapshot) -> int:
    return sum(sight.node.state is NodeState.READY for sight in snapshot.nodes)


def publish_stop(store: Store) -> None:
    """Write down that the fleet was stopped on purpose: what was seen before is not true any more."""
    sight = store.fact("sight")
    if sight is None:
        return
    gone = {
        "state": NodeState.STOPPED.value,
        "weight": 0,
        "open_jobs": None,
        "health": "",
        "reason": "the fleet was stopped",
    }
    sight["nodes"] = [{**node, **gone, "proxies": []} for node in sight["nodes"]]
    sight["scaling"] = {**sight["scaling"], "actual": 0}
    sight["price_per_hour"] = "0"
    sight["problems"], sight["standing"], sight["over_limit"], sight["stopped"] = [], [], 0, True
    with store.transaction():
        store.put_fact("sight", sight)


def _node_row(sight: NodeSight, verdict: Verdict, weight: int) -> dict[str, Any]:
    node, reading = sight.node, sight.reading
    return {
        "name": node.name,
        "slot": node.slot,
        "state": node.state.value,
        "goal": node.goal.value,
        "address": node.address,
        "driver": node.driver,
        "open_jobs": sight.open_jobs,
        "weight": weight,
        "health": verdict.life.value if node.state in _JUDGED else "",
        "health_reason": verdict.reason if node.state in _JUDGED else "",
        "progress": _progress(sight),
        "reason": _reason(sight),
        "failure": node.failure,
        "since": node.since,
        "latency": reading.latency if reading else None,
        "error": (reading.error or "") if reading else "",
        **_work(sight),
        "proxies": [
            {"proxy": proxy.proxy, "up": proxy.up, "sessions": proxy.sessions, "check": proxy.check}
            for proxy in sight.proxies
        ],
        "faults": [
            f"{queue.name}: {in_words(fault)}"
            for queue in (reading.queues if reading else ())
            for fault in printer_faults(queue)
        ][:FAULTS_SHOWN],
    }


def _work(sight: NodeSight) -> dict[str, Any]:
    """waiting: jobs that a printer will take; stuck: held or stopped ones, and those of a stopped printer; wait:
    seconds until the last of `waiting` starts, by measured times; work: until the last one has ended. None where the
    node does not answer."""
    backlog = sight.backlog
    if backlog is None:
        return {"waiting": None, "stuck": None, "wait": None, "work": None}
    behind = [(queue.jobs - 1, queue.seconds * (queue.jobs - 1) / queue.jobs) for queue in backlog.work if queue.jobs]
    return {
        "waiting": sum(jobs for jobs, _ in behind),
        "stuck": backlog.stuck,
        "wait": max((seconds for _, seconds in behind), default=0.0),
        "work": max((queue.seconds for queue in backlog.work), default=0.0),
    }


def _reason(sight: NodeSight) -> str:
    """Why it is in its state, or what last failed on it; of one that takes no new work, also what is left."""
    said = sight.node.failure or sight.node.reason
    return f"{said}; {jobs(sight)}" if sight.node.state in _FINISHING and sight.open_jobs else said


def _progress(sight: NodeSight) -> dict[str, Any] | None:
    """How far a node is that takes no new work; None for others. seconds: None when there is no pace to go by."""
    if sight.node.state not in _FINISHING:
        return None
    return {"jobs_left": sight.open_jobs, "finished": sight.finished, "seconds": remaining(sight)}


def _node_problems(store: Store, snapshot: Snapshot, judged: Mapping[str, Verdict], settings: Settings) -> list[str]:
    """What an administrator should know about, one sentence each."""
    said = []
    for sight in snapshot.nodes:
        node, verdict = sight.node, judged[sight.node.name]
        if node.state is NodeState.RESCUING:
            said.append(f"{node.name} is given up, its jobs go to others: {node.failure or node.reason}")
        elif node.state is NodeState.DEAD:
            said.append(_dead(sight, len(JobTable(store).open_on(node.name)), settings))
        elif node.state in IN_SERVICE and verdict.life is not Life.HEALTHY:
            gets = "; it gets no new jobs meanwhile" if node.state is NodeState.UNHEALTHY else ""
            said.append(f"{node.name} is {verdict.life.value}: {verdict.reason}{gets}")
        elif node.state is NodeState.UNHEALTHY:
            said.append(f"{node.name} is well again and gets new work soon; what was wrong: {node.reason}")
        elif node.state is NodeState.PROVING and sight.in_state > settings.nodes.start_timeout:
            said.append(f"{node.name} has been proving for {sight.in_state:.0f} s: {verdict.reason}")
        elif node.failure:
            said.append(f"{node.name}: {node.failure}")
    return said


def _dead(sight: NodeSight, jobs_there: int, settings: Settings) -> str:
    """What is done about a dead node, and what waits there. jobs_there: accepted ones that have not ended."""
    node = sight.node
    what = _revival(sight, settings.health) if sight.alive is not None else "it is someone else's to start again"
    what = f"{node.failure}; {what}" if node.failure else what
    wait = f"; {counted(jobs_there, 'job')} {'waits' if jobs_there == 1 else 'wait'} there" if jobs_there else ""
    return f"{node.name} is dead: {node.reason}; {what}{wait}"


def _revival(sight: NodeSight, health: Health) -> str:
    """When a dead node is started next, and how often yet."""
    if sight.node.deaths > health.max_restarts:
        return "it is given up, and its jobs go to other servers"
    wait = math.ceil(restart_in(sight, health))
    when = f"in {wait} s" if wait else "now"
    nth = f"start {max(1, sight.node.deaths)} of {health.max_restarts}"
    return f"it is started again {when} ({nth}, then its jobs go to other servers)"
