"""What a step does to a node: the work itself, and the crew that does it beside the loop."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from controller.config import Printer, Settings
from controller.jobs.collect import Incomplete
from controller.jobs.custody import Custody
from controller.nodes import proof, queues
from controller.nodes.driver import Driver, NodeError, NodeSpec, NotYet
from controller.plan import Declare, Evacuate, Prove, Remove, Rescue, Restart, Start, Step
from controller.snapshot import Node
from controller.state import State
from controller.store import Store
from probes.sweep import Target

QUEUES_DEADLINE = 60.0
"""Seconds for putting all queues on a node; a driverless one asks its printer first."""
PROOF_DEADLINE = 10.0
"""Seconds for the proof job."""

LOOK_AGAIN = 2.0
"""Seconds before an effect that waits for something looks whether it has come."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds before an effect that failed is tried again; doubled at each failure in a row."""

Work = Callable[[], int | None]
"""Returns the id that a proof job got."""


@dataclass(frozen=True)
class Outcome:
    """What an effect has come to: its result, or a sentence that says what went wrong or what it waits for."""

    result: int = 0
    error: str = ""
    waits: str = ""


@dataclass
class Crew:
    """Effects under way, at most one per node."""

    wake: Callable[[], None]
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16, thread_name_prefix="effect"))
    _work: dict[str, tuple[Step, Future[int | None]]] = field(default_factory=dict)
    _begun: dict[tuple[str, type[Step]], float] = field(default_factory=dict)
    """When each kind of effect was last begun on each node, in monotonic seconds."""
    _pauses: dict[str, tuple[float, float]] = field(default_factory=dict)
    """After a failure, by node: when (monotonic seconds) it may be tried again, and the waiting time until then."""

    def begin(self, step: Step, work: Work) -> None:
        future = self._pool.submit(work)
        self._work[step.node] = (step, future)
        self._begun[step.node, type(step)] = time.monotonic()
        future.add_done_callback(lambda _: self.wake())

    def busy(self) -> frozenset[str]:
        return frozenset(self._work)

    def finished(self) -> list[tuple[Step, Outcome]]:
        """Each effect that has ended: its step, and what it has come to."""
        return [(step, _outcome(future)) for step, future in self._work.values() if future.done()]

    def forget(self, nodes: Iterable[str]) -> None:
        """The outcomes for these nodes are written down; they may be given other work, after a pause if they failed."""
        for node in nodes:
            _, future = self._work.pop(node)
            _, pause = self._pauses.pop(node, (0.0, FIRST_RETRY / 2))
            error = future.exception()
            if isinstance(error, NotYet):
                self._pauses[node] = (time.monotonic() + LOOK_AGAIN, FIRST_RETRY / 2)
            elif error:
                pause = min(2 * pause, LONGEST_RETRY)
                self._pauses[node] = (time.monotonic() + pause, pause)

    def retry_in(self, node: str) -> float:
        """Seconds until what last failed on this node may be tried again."""
        return max(0.0, self._pauses.get(node, (0.0, 0.0))[0] - time.monotonic())

    def begun_ago(self, node: str, kind: type[Step]) -> float | None:
        """Seconds since such an effect was last begun on this node; None for never."""
        begun = self._begun.get((node, kind))
        return None if begun is None else time.monotonic() - begun

    def stop(self) -> None:
        """Wait for what is under way; every effect has its deadline."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _outcome(future: Future[int | None]) -> Outcome:
    try:
        return Outcome(future.result() or 0)
    except NotYet as why:
        return Outcome(waits=str(why))
    except NodeError as error:
        return Outcome(error=str(error))
    except Exception as error:  # whatever an effect met, it must not end the loop
        return Outcome(error=f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class Effects:
    """Knows what each kind of step means for a node."""

    state: State
    drivers: Mapping[str, Driver]
    devices: Callable[[Printer], str]
    """The device URI that a printer's queue gets; a virtual one's leads to its sink."""
    jobs: Custody
    """Who knows every job, and moves them."""
    read_out: Callable[[str], None] = lambda node: None
    """Reads what a node's backends wrote down (controller.costs.collect.Charger.finish)."""

    def spec(self, node: Node, store: Store) -> NodeSpec:
        return NodeSpec(
            name=node.name,
            slot=node.slot,
            next_id=store.next_id(node.slot),
            host=node.host,
            port=node.port,
            folder=self.state.nodes / node.name,
        )

    def alive(self, node: Node, store: Store) -> bool | None:
        return self.drivers[node.driver].alive(self.spec(node, store))

    def outdated(self, node: Node, store: Store) -> bool:
        return self.drivers[node.driver].outdated(self.spec(node, store))

    def room(self, node: Node, store: Store) -> tuple[int, int] | None:
        return self.drivers[node.driver].room(self.spec(node, store))

    def target(self, node: Node, store: Store, also_tls: bool = False) -> Target:
        """Where the prober finds the node, and the name that lets it see every job's owner."""
        token = self.drivers[node.driver].token(self.spec(node, store))
        host = token.host or node.host
        return Target(node.name, host, node.port, token.user, token.tls, also_tls=also_tls and not token.tls)

    def declarations(self, settings: Settings) -> tuple[queues.Queue, ...]:
        return tuple(
            queues.Queue(
                name=printer.name,
                device=self.devices(printer),
                model=printer.model,
                options=tuple(sorted(printer.options.items())),
                info=printer.info,
                location=printer.location,
            )
            for printer in settings.printers
        )

    def fingerprint(self, settings: Settings) -> str:
        """Changes whenever a declaration does."""
        return hashlib.sha256(repr([_content(queue) for queue in self.declarations(settings)]).encode()).hexdigest()[
            :16
        ]

    def proof(self, node: Node, store: Store, settings: Settings) -> Callable[[], int]:
        """What has a node that serves prove itself once more."""
        driver = self.drivers[node.driver]
        wanted = tuple(driver.queue(queue) for queue in self.declarations(settings))
        return partial(_prove_again, driver, self.spec(node, store), wanted)

    def work(self, step: Step, node: Node, spec: NodeSpec, settings: Settings) -> Work | None:
        """What the step has to do at the node; None when it changes the record or the proxies only."""
        driver = self.drivers[node.driver]
        wanted = tuple(driver.queue(queue) for queue in self.declarations(settings))
        match step:
            case Start():
                return partial(driver.start, spec)
            case Restart():
                return partial(_restart, driver, spec)
            case Prove():
                return partial(_prove, driver, spec, wanted)
            case Declare():
                return partial(_declare_all, driver, spec, wanted)
            case Remove():
                return partial(_remove, driver, spec, partial(self.jobs.finish, node), self.read_out, self._saw_id)
            case Rescue():
                return partial(_rescue, driver, spec, partial(self.jobs.rescue, node, step.reason))
            case Evacuate():
                return partial(_evacuate, partial(self.jobs.evacuate, node, step.reason))
        return None

    def _saw_id(self, slot: int, highest: int) -> None:
        with Store(self.state.database) as store, store.transaction():
            store.saw_id(slot, highest)


def _remove(
    driver: Driver,
    spec: NodeSpec,
    finish: Callable[[bool], None],
    read_out: Callable[[str], None],
    saw_id: Callable[[int, int], None],
) -> None:
    """What became of its last jobs is read before. One that died meanwhile with an open job is started once more, so
    that it prints.

    The highest id that it knew to be given out, of jobs and of subscriptions, is written down while its files stand: a
    controller that comes after one which was killed in between would not find them.
    """
    alive = driver.alive(spec)
    if alive is None or spec.folder.exists():
        try:
            finish(alive is not False)
        except Incomplete as why:
            if alive is False:
                driver.start(spec)
            raise NodeError(f"{spec.name} is not removed yet: {why}") from None
    driver.stop(spec)
    read_out(spec.name)
    saw_id(spec.slot, driver.highest_id(spec))
    driver.remove(spec)


def _rescue(driver: Driver, spec: NodeSpec, rescue: Callable[[], int]) -> None:
    """Nothing of the node may run while its spool is read."""
    driver.stop(spec)
    if waiting := rescue():
        raise NotYet(f"{waiting} of its jobs are still to be moved to other servers")


def _evacuate(evacuate: Callable[[], int]) -> None:
    evacuate()


def _restart(driver: Driver, spec: NodeSpec) -> None:
    driver.stop(spec)
    driver.start(spec)


def _content(queue: queues.Queue) -> tuple[queues.Queue, str]:
    """A declaration with what its PPD file holds now; a file that can't be read is the declaring step's to complain."""
    try:
        return queue, queue.mark
    except NodeError:
        return queue, ""


def _declare(driver: Driver, spec: NodeSpec, wanted: tuple[queues.Queue, ...]) -> None:
    """Put the queues on a node of ours; on someone else's server they must be there."""
    token = driver.token(spec)
    if driver.owns_queues:
        queues.declare(spec.host, spec.port, token, wanted, QUEUES_DEADLINE)
    elif missing := queues.missing(spec.host, spec.port, token, wanted, QUEUES_DEADLINE):
        raise NodeError(
            f"the server at {spec.host}:{spec.port} lacks the queue {', '.join(missing)}, or it takes no jobs there; "
            "make it with: lpadmin -p QUEUE -v DEVICE -m MODEL -o printer-is-shared=true -E"
        )


def _declare_all(driver: Driver, spec: NodeSpec, wanted: tuple[queues.Queue, ...]) -> None:
    """As `_declare`; done when no queue is left that is declared no longer, so it is tried again until then."""
    _declare(driver, spec, wanted)
    _declare(driver, spec, wanted)  # the first one stopped the intake of such queues, this one ends the empty ones
    if driver.owns_queues:
        token = driver.token(spec)
        if left := queues.left_over(spec.host, spec.port, token, wanted, QUEUES_DEADLINE):
            raise NotYet(f"{', '.join(left)} is declared no longer and goes when its open jobs are done")
        if silent := queues.undescribed(spec.host, spec.port, token, wanted, QUEUES_DEADLINE):
            raise NodeError("; ".join(silent))


def _prove(driver: Driver, spec: NodeSpec, wanted: tuple[queues.Queue, ...]) -> int:
    _declare(driver, spec, wanted)
    return proof.prove(driver, spec, _some_queue(driver, spec, wanted), PROOF_DEADLINE)


def _prove_again(driver: Driver, spec: NodeSpec, wanted: tuple[queues.Queue, ...]) -> int:
    """Whether its queues take jobs, a node of ours is judged for by comparison with others."""
    queue = "" if driver.owns_queues else _some_queue(driver, spec, wanted)
    return proof.prove(driver, spec, queue, PROOF_DEADLINE)


def _some_queue(driver: Driver, spec: NodeSpec, wanted: tuple[queues.Queue, ...]) -> str:
    """One that takes jobs: another that waits for its printer holds up nothing. Raises NodeError when there is none."""
    server = spec.host, spec.port, driver.token(spec)
    closed = queues.missing(*server, wanted, QUEUES_DEADLINE)
    queue = next((one.name for one in wanted if one.name not in closed), None)
    if queue is None:
        why = queues.undescribed(*server, wanted, QUEUES_DEADLINE) or ("none of its queues takes jobs",)
        raise NodeError("; ".join(why))
    return queue
