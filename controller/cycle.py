"""One pass of the loop."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.apply import Applier
from controller.config import Settings
from controller.decide import decide
from controller.diary import Diary
from controller.jobs.collect import Collector
from controller.observe import Observer
from controller.plan import Plan
from controller.samples import Samples
from controller.store import Store
from controller.views import publish, publish_thresholds


@dataclass
class Cycle:
    """settle -> observe -> decide -> record -> apply -> publish."""

    store: Store
    observer: Observer
    applier: Applier
    collector: Collector
    diary: Diary = field(init=False)
    samples: Samples = field(init=False)
    _told: Settings | None = None
    """The settings that were published last."""

    def __post_init__(self) -> None:
        self.diary, self.samples = Diary(self.store), Samples(self.store)

    def run(self, settings: Settings, problems: list[str]) -> Plan:
        """`problems` are what the caller knows to be wrong beside the nodes. Raises StoreError."""
        self.applier.settle(settings)
        snapshot = self.observer.look(settings)
        self.collector.offer(snapshot.nodes)
        plan = decide(snapshot, settings)
        self.observer.load.decided(plan.scale)
        with self.store.transaction():
            self.diary.keep(plan)
            if not plan.idle:
                self.store.record(snapshot, plan)
            if self.samples.keep(snapshot, settings):
                self.observer.load.keep()
            if self._told is not settings:
                publish_thresholds(self.store, settings)
                self._told = settings
        self.applier.apply(plan, settings)
        publish(self.store, snapshot.after(self.store.nodes()), plan, settings, problems)
        return plan

    def close(self) -> None:
        """Write down what is known and not written yet. Raises StoreError."""
        self.observer.close()
        with self.store.transaction():
            self.observer.load.keep()
