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
from controller.store import Store
from controller.views import publish


@dataclass
class Cycle:
    """settle -> observe -> decide -> record -> apply -> publish."""

    store: Store
    observer: Observer
    applier: Applier
    collector: Collector
    diary: Diary = field(init=False)

    def __post_init__(self) -> None:
        self.diary = Diary(self.store)

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
        self.applier.apply(plan, settings)
        publish(self.store, snapshot.after(self.store.nodes()), plan, settings, problems)
        return plan
