"""The second half of a pass: carry out a plan.

What only changes the record or the proxies happens at once. What a node has to do (start, prove, stop) runs beside
the loop, so that one that hangs holds up no other; its outcome is taken up at the beginning of a later pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.config import Settings
from controller.config_values import split_address
from controller.door import Door
from controller.effects import Crew, Effects, Outcome
from controller.load import PAUSED
from controller.plan import (
    Admit,
    Aim,
    Declare,
    Distrust,
    Drain,
    Evacuate,
    GiveUp,
    Leave,
    Order,
    Pause,
    Plan,
    Prove,
    Remove,
    Rescue,
    Restart,
    Start,
    Step,
    Suspend,
    TakeOut,
)
from controller.ports import Ports
from controller.snapshot import UNPROVED, Cause, Goal, Node, NodeState
from controller.store import Store
from machine.ports import free

log = logging.getLogger("cupsfleet")


@dataclass
class Applier:
    store: Store
    door: Door
    effects: Effects
    ports: Ports
    crew: Crew

    def settle(self, settings: Settings) -> None:
        """Take up what effects have come to since the last pass."""
        finished = self.crew.finished()
        if finished:
            nodes = {node.name: node for node in self.store.nodes()}
            with self.store.transaction():
                for step, outcome in finished:
                    self._settle(nodes[step.node], step, outcome, settings)
            self.crew.forget(step.node for step, _ in finished)

    def apply(self, plan: Plan, settings: Settings) -> None:
        """Record what changes at once, tell the proxies, then begin the effects. Safe to repeat at any point."""
        with self.store.transaction():
            nodes = {node.name: node for node in self.store.nodes()}
            for answer in plan.answers:
                self.store.answer(answer)
                self.store.event("command", f"command {answer.command} {answer.state}: {answer.outcome}", answer.node)
            for step in plan.steps:
                self._record(step, nodes, settings)
        self.tell_proxies(settings, plan.weights)
        for step in plan.steps:
            self._begin(step, settings)

    def tell_proxies(self, settings: Settings, weights: Mapping[str, int]) -> None:
        for word in self.door.sync(settings, self.store.nodes(), self.ports, weights):
            self.store.event("proxy", word)
        known = self.door.known_users()
        if known and known != self.store.fact("users"):
            self.store.put_fact("users", known)

    def _record(self, step: Step, nodes: dict[str, Node], settings: Settings) -> None:
        """The part of a step that is only a change of the record."""
        node = nodes.get(step.node)
        match step:
            case Order():
                node = self._ordered(step, settings)
            case Aim() if node:
                node = replace(node, goal=Goal(step.goal), goal_by=Cause(step.by))
            case Admit() if node:
                state = NodeState.READY if node.goal is Goal.SERVE else NodeState.DRAINING
                node = _enter(node, state, step.reason)
            case TakeOut() if node:
                node = replace(_enter(node, NodeState.DEAD, step.reason), deaths=step.deaths, lives=node.lives + 1)
            case Suspend() if node:
                node = _enter(node, NodeState.UNHEALTHY, step.reason)
            case Distrust() if node:
                node = replace(_enter(node, NodeState.UNHEALTHY, step.reason), queues=UNPROVED)
            case GiveUp() if node:
                node = _enter(node, NodeState.RESCUING, step.reason)
            case Drain() if node:
                node = _enter(node, NodeState.DRAINING, step.reason)
            case Leave() if node:
                node = _enter(node, NodeState.LEAVING, step.reason)
            case Pause():
                self.store.put_fact(PAUSED, step.by)
                self.store.event("scaling", step.reason)
                return
            case _:
                return
        assert node is not None
        nodes[node.name] = node
        self.store.put_node(node)
        self.store.event(step.kind, step.reason, step.node)

    def _ordered(self, step: Order, settings: Settings) -> Node:
        driver = "existing" if step.address else "process"
        if step.address:
            address = split_address(step.address)
        else:
            address = ("127.0.0.1", self.ports.for_node(settings.nodes.quarantine))
        node = Node(step.node, step.slot, driver, *address, goal_by=Cause(step.by))
        return _enter(node, NodeState.ORDERED, step.reason)

    def _begin(self, step: Step, settings: Settings) -> None:
        """The part of a step that a node has to do."""
        node = next((node for node in self.store.nodes() if node.name == step.node), None)
        if node is None or node.name in self.crew.busy():
            return
        if isinstance(step, Start | Restart):
            node = self._with_free_port(node, settings)
        if work := self.effects.work(step, node, self.effects.spec(node, self.store), settings):
            self.crew.begin(step, work)

    def _with_free_port(self, node: Node, settings: Settings) -> Node:
        """A node whose port was taken by someone else while it was dead gets another one."""
        if node.driver == "existing" or self.effects.alive(node, self.store) or free(node.host, node.port):
            return node
        moved = replace(node, port=self.ports.for_node(settings.nodes.quarantine))
        with self.store.transaction():
            self.store.put_node(moved)
            self.store.event("moved", f"port {node.port} was taken, it is now {moved.address}", node.name)
        return moved

    def _settle(self, node: Node, step: Step, outcome: Outcome, settings: Settings) -> None:
        result = outcome.result
        if outcome.error:
            self._failed(node, step, outcome.error)
            return
        if outcome.waits:
            self.store.put_node(replace(node, failure="", reason=outcome.waits))
            return
        node = replace(node, failure="")
        match step:
            case Start() | Restart():
                self.store.put_node(replace(_enter(node, NodeState.STARTING, step.reason), lives=node.lives + 1))
                self.store.event("starting", step.reason, node.name)
            case Prove():
                self.store.saw_id(node.slot, result)
                self.store.put_node(
                    _enter(self._proved(node, settings), NodeState.PROVING, f"proof job {result} ran, its queues stand")
                )
                self.store.event("proved", f"proof job {result}", node.name)
            case Declare():
                self.store.put_node(replace(node, queues=self.effects.fingerprint(settings), reason=step.reason))
                self.store.event("declared", step.reason, node.name)
            case Rescue():
                rescued = "it is given up, and none of its jobs is left in its spool"
                self.store.put_node(_enter(node, NodeState.LEAVING, rescued))
                self.store.event("rescued", rescued, node.name)
            case Evacuate():
                self.store.put_node(node)
            case Remove():
                self.store.retire_node(node, step.reason)
                self.store.event("retired", step.reason, node.name)

    def _proved(self, node: Node, settings: Settings) -> Node:
        in_place = node.goal is Goal.SERVE and node.goal_by is Cause.HEALTH
        by = Cause.ORDER if in_place else node.goal_by
        return replace(node, queues=self.effects.fingerprint(settings), goal_by=by)

    def _failed(self, node: Node, step: Step, error: str) -> None:
        failure = f"{step.kind} failed: {error}"
        if isinstance(step, Start | Restart) and not _joins(node):  # one that can't even be started has died once more
            dead = node if node.state is NodeState.DEAD else _enter(node, NodeState.DEAD, "it could not be started")
            self.store.put_node(replace(dead, failure=failure, deaths=node.deaths + 1))
        elif node.failure != failure:
            self.store.put_node(replace(node, failure=failure))
        if node.failure != failure:
            log.error("%s: %s", node.name, failure)
            self.store.event("failed", failure, node.name)


def _joins(node: Node) -> bool:
    """Whether it is someone else's server that was never in the fleet: it is checked until it can be."""
    return node.driver == "existing" and node.state is NodeState.ORDERED


def _enter(node: Node, state: NodeState, reason: str) -> Node:
    return replace(node, state=state, since=time.time(), reason=reason)
