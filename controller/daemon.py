"""The program that keeps the fleet: APScheduler runs a pass every interval and a watch over what must never be gone."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Mapping
from concurrent import futures
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

from controller import adopt, certificate, processes, services
from controller.addresses import host_header
from controller.apply import Applier
from controller.config import Costs, Settings
from controller.config_file import Configuration, stamp_of
from controller.costs import install
from controller.costs.charge import Site
from controller.costs.collect import Charger, Meter
from controller.costs.gate import Gate
from controller.costs.people import People, Person, site_of
from controller.cycle import Cycle
from controller.deaths import Deaths
from controller.door import Door, stop_proxies, trim_logs
from controller.effects import Crew, Effects
from controller.jobs.custody import Custody
from controller.jobs.desk import Desk
from controller.jobs.moves import MoveTable
from controller.jobs.table import JobTable
from controller.load import LoadMemory
from controller.nodes.driver import Driver, NodeSpec
from controller.nodes.existing import ExistingDriver
from controller.nodes.process import ProcessDriver
from controller.nodes.settings import mark_of
from controller.notify import Patience, notify
from controller.observe import Observer
from controller.plan import Order
from controller.ports import Ports
from controller.prover import Prover
from controller.rhythm import Rhythm, at_once
from controller.snapshot import NodeState
from controller.state import State, StateError
from controller.store import Store, StoreError
from controller.users import Users
from controller.views import publish_stop
from haproxy.errors import ProxyError

log = logging.getLogger("cupsfleet")

WATCH_INTERVAL = 0.5
"""Seconds between two looks whether the proxies run; a lost one is back within two seconds."""
CONFIG_FACT = "configuration"
"""In the database: the path of the file that the controller goes by, '' for none."""
HOUSEKEEPING_INTERVAL = 600.0
"""Seconds between two checkpoints of the database and clearings of old history."""


def make_drivers(settings: Settings, met: Callable[[int], None]) -> Mapping[str, Driver]:
    return {
        # Nodes listen on loopback, so whoever can connect is on this machine, under whichever of its addresses.
        "process": ProcessDriver(allow=("all",), backends=[install.backend()], met=met),
        "existing": ExistingDriver(host_header=host_header(settings)),
    }


@dataclass
class Daemon:
    """One controller for one state folder, from its start to the signal that ends it."""

    state: State
    configuration: Configuration
    announce: Callable[[], None]
    """Called once, when jobs can be printed."""
    _lock: int = -1
    _stop: threading.Event = field(default_factory=threading.Event)
    _woken: threading.Event = field(default_factory=threading.Event)
    """Something happened since the last pass was begun."""
    _news: deque[str] = field(default_factory=deque)
    """What the watch did; the next pass writes it down, since it alone owns the store."""
    _people: People = field(default_factory=People)
    _made: tuple[Costs, Mapping[str, Person], Site] | None = None
    """The rules about money, and what they were made of."""
    _heard: tuple[int, int] = (0, 0)
    """The user list that a pass was last woken for."""
    _ready: bool = False
    _failing: str = ""

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises StateError, StoreError or CertificateError when it can't begin."""
        self._lock = self.state.lock()
        settings = self.configuration.settings
        self.store = Store(self.state.database, create=True, migrating=Patience())
        if settings.front_door.certificate is None:
            certificate.ensure(self.state.certificate, settings.front_door.name)
        self._assemble(settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        rhythm = self._begin(settings)
        while not self._stop.wait(WATCH_INTERVAL) and self.state.keeps(self._lock):
            rhythm.keep_time()
        self._stop.set()
        notify("STOPPING=1")
        self.jobs.mover.stop()
        rhythm.end()
        self.gate.close()
        self.applier.crew.stop()
        with suppress(StoreError):
            self.cycle.close()
        self.store.close()
        if not self.state.keeps(self._lock):
            end_what_ran()
            raise StateError(
                f"the state folder {self.state.folder} was deleted while its fleet ran; all that ran for it is ended, "
                "and what was not printed yet is lost; start anew with: cupsfleet up"
            )
        stop_everything(self.state)
        os.close(self._lock)

    def _assemble(self, settings: Settings) -> None:
        for said in adopt.adopt(self.state, self.store, settings.slots):
            log.warning(said)
        ports = Ports(self.store)
        self.services = services.Services(self.state, ports)
        self.door = Door(self.state)
        self.jobs = Custody.of(
            lambda: Store(self.state.database),
            lambda node, store: effects.target(node, store),
            lambda node: self.state.nodes / node.name,
        )
        self.desk = Desk(lambda: Store(self.state.database), self.jobs.mover, Users(self.state.users).administrators)
        self.jobs.mover.between = self.desk.work
        self.jobs.mover.leads_on = self.door.leads_on
        self.charger = Charger(
            lambda: Store(self.state.database),
            self.state.nodes,
            lambda: self._rules()[1],
            Meter(
                lambda: self.configuration.settings.nodes.price_per_hour,
                lambda: self.configuration.settings.nodes.max,
            ),
            self._known_people,
        )
        self.gate = Gate(
            lambda: Store(self.state.database),
            self.state.nodes,
            self._rules,
            lambda node, store: effects.target(node, store),
        )
        drivers = make_drivers(settings, Deaths(self._wake_up).watch)
        effects = Effects(self.state, drivers, self.services.device, self.jobs, self.charger.finish)
        self.prover = Prover(
            lambda: Store(self.state.database),
            lambda node, store: effects.proof(node, store, self.configuration.settings),
            self.jobs.collector.sights,
            lambda: self.configuration.settings.health.proof_interval,
        )
        crew = Crew(self._wake_up)
        self.applier = Applier(self.store, self.door, effects, ports, crew)
        self.cycle = Cycle(
            self.store,
            Observer(self.store, self.door, effects, crew, LoadMemory(self.store), self.prover.failure),
            self.applier,
            self.jobs.collector,
        )
        with self.store.transaction():
            self.store.put_fact(CONFIG_FACT, str(self.configuration.path or ""))
        self.store.event("controller", f"started as process {os.getpid()}")

    def _begin(self, settings: Settings) -> Rhythm:
        """A pass that waits for a node must not delay a proxy's return, nor reading jobs a pass."""
        rhythm, interval = Rhythm(self._stop), settings.health.interval
        every, beside = rhythm.every, rhythm.beside
        self._pass = every(interval, "pass", self._run_pass)
        every(WATCH_INTERVAL, "watch", self._watch)
        beside(WATCH_INTERVAL, "ear", self._wake_when_asked, "commands could not be looked for")
        beside(WATCH_INTERVAL, "moves", self.desk.work, "commands about jobs could not be carried out")
        self._paced = (
            self._pass,
            beside(interval, "jobs", self.jobs.collector.collect, "the nodes' jobs could not be written down"),
            beside(interval, "moves", self.jobs.mover.advance, "jobs could not be moved"),
            beside(interval, "costs", self._settle_costs, "jobs could not be charged"),
            beside(interval, "proofs", self.prover.prove, "nodes could not be proved again"),
        )
        every(HOUSEKEEPING_INTERVAL, "costs", self.charger.clear)
        every(HOUSEKEEPING_INTERVAL, "pass", self._keep_house)
        rhythm.start()
        at_once(self._pass)
        return rhythm

    def _wake_up(self) -> None:
        """An effect has ended, or a server has: take it up now, not an interval later. The scheduler forgets what comes
        during a pass, so that is kept in mind until its end."""
        self._woken.set()
        if not self._stop.is_set():
            at_once(self._pass)

    def _run_pass(self) -> None:
        self._woken.clear()
        self._pass_once()
        if self._woken.is_set():
            self._wake_up()

    def _pass_once(self) -> None:
        if not self.state.keeps(self._lock):
            return
        try:
            self._refresh()
            plan = self.cycle.run(self.configuration.settings, self._problems())
            if any(isinstance(step, Order) for step in plan.steps):
                self._wake_up()  # so that it is started now
            self._report_failure("")
            if not plan.idle:
                log.info(plan.sentence())
            self._announce_when_ready()
        except Exception as error:  # whatever a pass met, the next one has its chance
            if not self._failing.endswith(str(error)):
                expected = isinstance(error, StoreError | OSError)
                log.error("this pass could not be finished: %s", error, exc_info=not expected)
                notify(f"STATUS=a pass could not be finished: {error}")
            self._report_failure(f"a pass could not be finished: {error}")

    def _report_failure(self, sentence: str) -> None:
        """For those who look from outside, if the database lets us."""
        if sentence != self._failing:
            self._failing = sentence
            with suppress(StoreError), self.store.transaction():
                self.store.put_fact("failing", sentence)

    def _keep_database(self) -> None:
        """A file that was deleted is written again from what is still open here."""
        try:
            stands = self.store.stands()
        except StoreError as error:
            with suppress(StoreError), Store(self.state.database) as other, other.transaction():
                other.put_fact("failing", str(error))
            raise
        if not stands:
            self.store.write_again()
            said = f"{self.state.database} was deleted; it is written again with all that it held"
            log.warning(said)
            self.store.event("database", said)

    def _refresh(self) -> None:
        self._keep_database()
        interval = self.configuration.settings.health.interval
        if said := self.configuration.refresh():
            log.warning(said)
            self.store.event("configuration", said)
        settings = self.configuration.settings
        if settings.front_door.certificate is None:
            certificate.ensure(self.state.certificate, settings.front_door.name)
        if settings.health.interval != interval:
            for job in self._paced:
                job.reschedule("interval", seconds=settings.health.interval)
        in_use = JobTable(self.store).open_queues()
        for said in [*self.services.ensure(settings, in_use), *self._drain_news()]:
            log.info(said)
            self.store.event("service", said)

    def _drain_news(self) -> list[str]:
        return [self._news.popleft() for _ in range(len(self._news))]

    def _problems(self) -> list[str]:
        own = [said for said in (self.configuration.problem, self._people.problem) if said]
        parts = [*self.door.problems(), *self.services.problems(), *self.jobs.problems()]
        return [*own, *parts, *adopt.problems(self.state, self.store)]

    def _watch(self) -> None:
        self._news.extend(self.door.watch())

    def _wake_when_asked(self) -> None:
        """The next pass may be a minute away, and whoever changes something waits for it before a screen."""
        users, heard = stamp_of(self.state.users), self._heard
        self._heard = users
        with Store(self.state.database) as store:
            asked = any(command.state == "asked" for command in store.open_commands(of_jobs=False))
        if asked or users != heard or self.configuration.changed():
            self._wake_up()

    def _settle_costs(self) -> None:
        self.charger.collect()
        self.gate.ensure()

    def _known_people(self) -> Mapping[str, Person]:
        return self._people.known(self.configuration.settings.costs.accounts)

    def _rules(self) -> tuple[Costs, Site]:
        """Made anew only when something changed: each job and each question asks for them."""
        costs, people = self.configuration.settings.costs, self._known_people()
        made = self._made
        if made is None or made[0] is not costs or made[1] is not people:
            made = self._made = costs, people, site_of(costs, people)
        return costs, made[2]

    def _keep_house(self) -> None:
        keep = self.configuration.settings.state
        try:
            with self.store.transaction():
                self.store.forget(keep.keep_events)
                JobTable(self.store).forget(keep.keep_jobs)
                MoveTable(self.store).forget(keep.keep_jobs)
            self.store.checkpoint()
            trim_logs(self.state)
        except (StoreError, ProxyError) as error:
            log.error("old history and logs could not be cleared: %s", error)

    def _announce_when_ready(self) -> None:
        """Jobs can be printed when as many nodes are ready as should be, and every proxy obeys. A dashboard that does
        not start, or a name that nodes can't be called by, keeps nobody from printing."""
        if self._ready:
            return
        if problems := [*self.door.hindrances(), *self.services.hindrances()]:
            notify("STATUS=" + "; ".join(problems).replace("\n", " "))
            return
        nodes = self.store.nodes()
        ready = sum(1 for node in nodes if node.state is NodeState.READY)
        if ready >= self.configuration.settings.nodes.min:
            self._ready = True
            notify(f"READY=1\nSTATUS={ready} servers are ready")
            self.announce()
        elif failures := [f"{node.name}: {node.failure}" for node in nodes if node.failure]:
            notify("STATUS=" + "; ".join(failures).replace("\n", " "))


def stop_everything(state: State) -> None:
    """End all that `up` started and that outlives the controller: doors first, so that nobody is let in meanwhile.

    Goes by the folders and by the database, so that it works whatever one of them, or the configuration, looks like.
    """
    stop_proxies(state)
    driver = ProcessDriver()
    names = {folder.name for folder in state.nodes.glob("*") if folder.is_dir()}
    with suppress(StoreError), Store(state.database) as store:
        names |= {node.name for node in store.nodes() if node.driver == "process"}
    with futures.ThreadPoolExecutor(16) as pool:
        specs = [NodeSpec(name, 0, 0, "127.0.0.1", 0, state.nodes / name) for name in sorted(names)]
        stopping = {spec.name: pool.submit(driver.stop, spec) for spec in specs}
    failed = {name: error for name, stopped in stopping.items() if (error := stopped.exception())}
    for name, error in failed.items():
        log.error("%s could not be stopped: %s", name, error)
    services.end_all(state)
    with closing(Store(state.database, create=True)) as store:
        record_stop(store, failed)
        publish_stop(store)


def end_what_ran() -> None:
    """End all that `up` started when nothing is left of the folder that says what that was."""
    for record in processes.end_recorded():
        processes.end_marked(mark_of(record.parent))


def record_stop(store: Store, failed: Container[str] = ()) -> None:
    """What was stopped on purpose did not die. One whose jobs are being moved from its spool is not started again."""
    kept = (NodeState.ORDERED, NodeState.LEAVING, NodeState.RESCUING)
    with store.transaction():
        for node in store.nodes():
            if node.state not in kept and node.name not in failed:
                stopped = replace(node, state=NodeState.STOPPED, since=time.time(), deaths=0, failure="")
                store.put_node(replace(stopped, reason="the fleet was stopped"))
