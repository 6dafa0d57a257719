"""A small world for decisions: simulated print servers under the real `decide`, `Applier`, `Memory` and `Store`.

Time is a number that each pass moves by one second. What the servers do, what the prober and the proxy are told, and
when the controller dies is up to the test.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from controller.apply import Applier
from controller.config import Health, Nodes, Scaling, Settings
from controller.daemon import record_stop
from controller.decide import decide
from controller.decide.backlog import backlog
from controller.decide.guards import prober_trouble
from controller.decide.health import verdicts
from controller.load import Wishes
from controller.memory import Memory
from controller.plan import Declare, Evacuate, Plan
from controller.snapshot import Load, Node, NodeSight, NodeState, ProxySight, Snapshot
from haproxy.model import SLOT_IDS, slot_of
from probes.reading import Reading
from tests.unit.decide.machines import HELD, PENDING, STOPPED, Machine
from tests.unit.decide.stand_ins import FINGERPRINT, Crew, Door, Effects, FewPorts, FragileStore, outcome_of

SETTINGS = Settings(
    nodes=Nodes(min=2, max=4, start_timeout=5.0, drain_deadline=30.0, quarantine=3600.0),
    health=Health(
        dead_after=4.0,
        fall=2,
        rise=3,
        replace_after=20.0,
        restart_backoff_max=4.0,
        max_restarts=4,
        tls_interval=1.0,
        stuck_after=10.0,
    ),
    scaling=Scaling(cool_down=20.0),
)
SLOTS = 9
"""Few, so that they are given to one node after another."""


@dataclass
class World:
    """Everything outside of the controller, and the controller too."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="world-")))
    settings: Settings = SETTINGS
    now: float = 1000.0
    machines: dict[str, Machine] = field(default_factory=dict)
    given: set[int] = field(default_factory=set)
    """Every job id that any machine ever gave out."""
    printed: int = 0
    blind: bool = False
    """The prober hears no node, although its canary answers."""
    emptied: dict[str, bool] = field(default_factory=dict)
    """Machines whose jobs go to others, and whether their spools are all that is left of them."""
    unprovable: bool = False
    """No machine at all can be proved: a mistake in the configuration, say."""
    bad_disks: set[str] = field(default_factory=set)
    """Nodes whose machines can't even be started for the first time."""
    deaf: set[str] = field(default_factory=set)
    """Nodes that the proxy can't reach."""
    canary: bool = True
    stale: float = 0.0
    """By how much every reading is older than it should be."""
    gap: float = 1.0
    history: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = FragileStore(self.folder / "cupsfleet.db", create=True)
        self.store._db.conn.execute("PRAGMA synchronous=OFF")  # no world outlives this machine
        self.ports = FewPorts(self.store)
        self.start_controller()

    def close(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    # The controller

    def start_controller(self) -> None:
        """With nothing but what the store remembers."""
        self.door, self.crew, self.memories, self.wishes = Door(), Crew(self), dict[str, Memory](), Wishes()
        effects: Any = Effects(self)
        door: Any = self.door
        crew: Any = self.crew
        self.applier = Applier(self.store, door, effects, self.ports, crew)

    def kill_controller(self, chance: random.Random) -> None:
        """What was under way for nodes is done or not."""
        self.store.writes_left = None
        for step, work in self.crew.begun():
            if chance.random() < 0.5:
                outcome_of(step, work)
        self.start_controller()

    def stop(self) -> None:
        """`down`, and `up` without the first pass."""
        for machine in self.machines.values():
            machine.runs = machine.hung = False
        record_stop(self.store)
        self.start_controller()

    def step(self) -> Plan:
        """One pass, a second later. Raises Crash where the test wanted it."""
        self.now += self.gap
        self.crew.work()
        self.move_on()
        self.applier.settle(self.settings)
        snapshot = self.look()
        plan = decide(snapshot, self.settings)
        self.wishes.add(self.now, plan.scale.wanted, plan.scale.certain)
        self.check(snapshot, plan)
        self.history.append(plan)
        self.applier.apply(plan, self.settings)
        return plan

    def look(self) -> Snapshot:
        """As controller.observe.Observer does, without sockets."""
        nodes = self.store.nodes()
        if self.gap > self.settings.health.stale_after:
            self.wishes.gap()
        wishes = self.wishes.told(self.now, self.settings.scaling.cool_down)
        sights = tuple(self._sight(node) for node in nodes)
        self.memories = {node.name: self.memories[node.name] for node in nodes}
        canary = Reading("canary", self.now, latency=0.01, error=None if self.canary else "no answer within 3 s")
        snapshot = Snapshot(
            nodes=sights,
            commands=self.store.open_commands(),
            free_slots=self.store.free_slots(SLOTS),
            next_name=self.store.next_name(),
            queues=FINGERPRINT,
            canary=canary,
            gap=self.gap,
            load=Load(wishes=wishes, known_for=self.wishes.known_for(self.now)),
        )
        if not prober_trouble(snapshot, self.settings):
            for name, verdict in verdicts(snapshot, self.settings).items():
                self.memories[name].count(verdict.life)
        counted = (
            replace(
                sight,
                bad_readings=self.memories[sight.node.name].bad_readings,
                good_readings=self.memories[sight.node.name].good_readings,
            )
            for sight in sights
        )
        return replace(snapshot, nodes=tuple(counted))

    def _sight(self, node: Node) -> NodeSight:
        machine = self.machines.get(node.name)
        asked = node.state not in (NodeState.ORDERED, NodeState.LEAVING, NodeState.RESCUING)
        reading = self._reading(node, machine) if asked else None
        memory = self.memories.setdefault(node.name, Memory((node.state, node.since), self.now, self.now))
        proxies = (self._proxy(node, machine),)
        memory.see(
            node,
            reading,
            proxies,
            now=self.now,
            looked_for=min(self.gap, self.settings.health.stale_after),
            obeyed=True,
            health=self.settings.health,
        )
        if reading and slot_of(reading.highest_job_id) == node.slot:
            self.store.saw_id(node.slot, reading.highest_job_id)
        return NodeSight(
            node=node,
            alive=machine.runs if machine and asked else (False if asked else None),
            reading=reading,
            backlog=backlog(reading, {}),
            idle_readings=memory.idle_readings,
            reading_age=self.stale,
            silent_for=memory.silent_for,
            stuck_for=memory.stuck_for(self.now),
            tls_error=memory.tls_error,
            proof_error=machine.proof_error if machine else "",
            outdated=machine.outdated if machine else False,
            strays=tuple(sorted(memory.strays)),
            free_bytes=machine.free if machine else None,
            disk_bytes=100 * 2**30,
            in_state=self.now - memory.entered_at,
            finished=memory.finished(len(reading.jobs)) if reading and not reading.error else 0,
            ids_left=(node.slot + 1) * SLOT_IDS - self.store.next_id(node.slot) + 1,
            declared_ago=self.crew.begun_ago(node.name, Declare),
            evacuated_ago=self.crew.begun_ago(node.name, Evacuate),
            proxies=proxies,
            retry_in=self.crew.retry_in(node.name),
            busy=node.name in self.crew.busy(),
        )

    def _reading(self, node: Node, machine: Machine | None) -> Reading:
        if machine is None or self.blind:
            return Reading(node.name, self.now, error="no answer within 3 s")
        return machine.reading(self.now)

    def _proxy(self, node: Node, machine: Machine | None) -> ProxySight:
        up = machine is not None and machine.answers and node.name not in self.deaf
        return ProxySight(1, up, 0, "L7OK" if up else "L4TOUT")

    def check(self, snapshot: Snapshot, plan: Plan) -> None:
        """Promises about each single plan; a test adds its own."""

    # People

    def serving(self) -> list[Machine]:
        """Those that the proxy gives new work to."""
        by_slot = {machine.slot: machine for machine in self.machines.values()}
        found = (by_slot.get(slot) for slot, weight in self.door.weights.items() if weight)
        return [machine for machine in found if machine and machine.answers and machine.name not in self.deaf]

    def accept(self, machine: Machine, state: int = PENDING) -> int:
        number = machine.next_id
        assert slot_of(number) == machine.slot, f"{machine.name} gave {number}, which is not of slot {machine.slot}"
        assert number not in self.given, f"{number} was given out twice"
        self.given.add(number)
        machine.next_id += 1
        machine.jobs[number] = state
        return number

    def finish(self, machine: Machine) -> None:
        """Every job that is not held or stopped comes to its end."""
        left = {number: state for number, state in machine.jobs.items() if state in (HELD, STOPPED)}
        self.printed += len(machine.jobs) - len(left)
        machine.jobs = left

    def move_on(self) -> None:
        """One job of each machine that is emptied goes to another, as controller.jobs.mover has it: whether or not a
        controller dies meanwhile. A server that can't be asked keeps its jobs; a spool needs none."""
        for name, spooled in list(self.emptied.items()):
            machine = self.machines.get(name)
            others = [other for other in self.serving() if other is not machine]
            if machine and machine.jobs and others and (spooled or machine.answers):
                state = machine.jobs.pop(min(machine.jobs))
                self.accept(min(others, key=lambda other: len(other.jobs)), state)
            if machine is None or not machine.jobs:
                del self.emptied[name]
