"""What a step does to a node: the work itself, and the crew that does it beside the loop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from controller.config import Printer, Settings
from controller.nodes import proof, queues
from controller.nodes.driver import Driver, NodeError, NodeSpec
from controller.plan import Declare, Prove, Remove, Restart, Start, Step
from controller.snapshot import Node
from controller.state import State
from controller.store import Store

QUEUES_DEADLINE = 60.0
"""Seconds for putting all queues on a node; a driverless one asks its printer first."""
PROOF_DEADLINE = 10.0
"""Seconds for the proof job."""

Work = Callable[[], int]
"""Returns the highest job id that it caused, or 0."""


@dataclass
class Crew:
    """Effects under way, at most one per node."""

    wake: Callable[[], None]
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16, thread_name_prefix="effect"))
    _work: dict[str, tuple[Step, Future[int]]] = field(default_factory=dict)

    def begin(self, step: Step, work: Work) -> None:
        future = self._pool.submit(work)
        self._work[step.node] = (step, future)
        future.add_done_callback(lambda _: self.wake())

    def busy(self) -> frozenset[str]:
        return frozenset(self._work)

    def finished(self) -> list[tuple[Step, int, str]]:
        """Each effect that has ended: its step, its result, and the error as a sentence ('' for success)."""
        ended = [(step, future) for step, future in self._work.values() if future.done()]
        for step, _ in ended:
            del self._work[step.node]
        return [(step, *_outcome(future)) for step, future in ended]

    def stop(self) -> None:
        """Wait for what is under way; every effect has its deadline."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _outcome(future: Future[int]) -> tuple[int, str]:
    try:
        return future.result(), ""
    except NodeError as error:
        return 0, str(error)
    except Exception as error:  # whatever an effect met, it must not end the loop
        return 0, f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Effects:
    """Knows what each kind of step means for a node."""

    state: State
    drivers: Mapping[str, Driver]
    devices: Callable[[Printer], str]
    """The device URI that a printer's queue gets; a virtual one's leads to its sink."""

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
        return hashlib.sha256(repr(self.declarations(settings)).encode()).hexdigest()[:16]

    def work(self, step: Step, node: Node, spec: NodeSpec, settings: Settings) -> Work | None:
        """What the step has to do at the node; None when it changes the record or the proxies only."""
        driver, wanted = self.drivers[node.driver], self.declarations(settings)
        match step:
            case Start():
                return lambda: _nothing(driver.start(spec))
            case Restart():
                return lambda: _nothing(driver.stop(spec), driver.start(spec))
            case Prove():
                return lambda: _prove(driver, spec, wanted)
            case Declare():
                return lambda: _declare(driver, spec, wanted)
            case Remove():
                return lambda: _nothing(driver.remove(spec))
        return None


def _declare(driver: Driver, spec: NodeSpec, wanted: tuple[queues.Queue, ...]) -> int:
    queues.declare(spec.host, spec.port, driver.token(spec), wanted, QUEUES_DEADLINE)
    return 0


def _prove(driver: Driver, spec: NodeSpec, wanted: tuple[queues.Queue, ...]) -> int:
    _declare(driver, spec, wanted)
    return proof.prove(spec.host, spec.port, spec.slot, wanted[0].name, PROOF_DEADLINE)


def _nothing(*_: None) -> int:
    return 0
