"""One pass of the loop."""

from __future__ import annotations

from dataclasses import dataclass

from controller.apply import Applier
from controller.config import Settings
from controller.decide import decide
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

    def run(self, settings: Settings, problems: list[str]) -> Plan:
        """`problems` are what the caller knows to be wrong beside the nodes. Raises StoreError."""
        self.applier.settle(settings)
        snapshot = self.observer.look(settings)
        self.collector.offer(snapshot.nodes)
        plan = decide(snapshot, settings)
        self.observer.load.decided(plan.scale)
        if not plan.idle:
            with self.store.transaction():
                self.store.record(snapshot, plan)
        self.applier.apply(plan, settings)
        publish(self.store, snapshot.after(self.store.nodes()), plan, settings, problems)
        return plan
