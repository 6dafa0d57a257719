"""The database of a large fleet: 1,000 nodes, 500 queues, two years of jobs in the ledger, and a busy moment."""

from __future__ import annotations

import random
import time

from benchmarks import costs
from controller.config import Printer, Settings
from controller.decide import decide
from controller.decide.backlog import backlog
from controller.diary import Diary
from controller.jobs.table import Job, JobTable
from controller.samples import KEPT, Samples
from controller.snapshot import Node, NodeSight, NodeState, ProxySight, Snapshot
from controller.store import Store
from controller.views import publish, publish_thresholds
from haproxy.model import SLOT_IDS
from probes.reading import OpenJob, QueueReading, Reading

NODES, QUEUES, OPEN_JOBS, EVENTS = 1_000, 500, 5_000, 50_000
TABLE_SHARE = 10
"""Of so many jobs in the ledger one is also in the table of jobs, which keeps about a year."""


def build(store: Store, jobs: int) -> None:
    """Everything but the passes to come."""
    costs.fill(store, jobs)
    _table(store)
    _history(store)
    store.checkpoint()


def _table(store: Store) -> None:
    """Ended jobs as the ledger has them, of the last year; every fiftieth was not printed."""
    now, names = (
        int(time.time()),
        "uuid, id, node, slot, queue, owner, title, state, reasons, why, size_kb, impressions",
    )
    state = "case when job % 50 = 0 then 'canceled' else 'completed' end"
    moment = f"{now} - (abs(random()) % {365 * 86_400})"
    with store.transaction():
        store.execute("drop trigger jobs_ended_insert")  # they are charged already
        store.execute(
            f"insert or ignore into jobs ({names}, created, processing, completed, open, seen) select substr(key, 5), "
            f"1000000 * (1 + id % {NODES}) + id / {NODES} % 900000, 'node-' || (1 + id % {NODES}), 1 + id % {NODES}, "
            f"printer, user, title, {state}, '', '', 40, pages, moment, moment + 7, moment + 15, 0, moment "
            f"from (select *, {moment} as moment from ledger where id % {TABLE_SHARE} = 0)"
        )
        store.execute(
            "create trigger jobs_ended_insert after insert on jobs when new.open = 0 "
            "begin insert or ignore into uncharged (uuid) values (new.uuid); end"
        )


def _history(store: Store) -> None:
    """Events of three months and samples of five years, as if somebody had always watched."""
    now, chance = time.time(), random.Random(3)
    kinds = ("order", "proved", "admit", "drain", "leave", "retired", "proxy", "failed")
    with store.transaction():
        store.execute_many(
            "insert into events (at, kind, node, text) values (:at, :kind, :node, :text)",
            (
                {
                    "at": now - 90 * 86_400 * (1 - place / EVENTS),
                    "kind": chance.choice(kinds),
                    "node": f"node-{chance.randrange(NODES) + 1}",
                    "text": f"4.{chance.randrange(9)} open jobs for each node are more than 4",
                }
                for place in range(EVENTS)
            ),
        )
        store.execute_many(
            "insert into samples values (:resolution, :at, 1, :depth, :nodes, :nodes, 12.5, 350000)",
            (
                {"resolution": resolution, "at": at, "depth": at // resolution % 97, "nodes": 8 + at // resolution % 5}
                for resolution, kept in KEPT.items()
                for at in range(int((now - kept) // resolution) * resolution, int(now), resolution)
            ),
        )


def settings() -> Settings:
    return Settings(printers=tuple(Printer(name=f"queue{number}", device="virtual") for number in range(QUEUES)))


def _open_job(number: int, nodes: int) -> Job:
    slot = number % nodes + 1
    job = slot * SLOT_IDS + 900_000 + number // nodes
    queue, owner = f"queue{number % QUEUES}", f"user{number % costs.USERS}"
    created = int(time.time()) - number % 600
    return Job(f"urn:uuid:open{number}", job, f"node-{slot}", queue, owner, "a title", size_kb=40, created=created)


class Passes:
    """What a controller of such a fleet would write, pass by pass."""

    def __init__(self, store: Store, nodes: int = NODES, open_jobs: int = OPEN_JOBS) -> None:
        self.store, self.settings, self.nodes = store, settings(), nodes
        self.jobs = [_open_job(number, nodes) for number in range(open_jobs)]
        self.samples, self.diary, self.number = Samples(store), Diary(store), 0
        queues = tuple(QueueReading(printer.name, 3, (), True, 0) for printer in self.settings.printers)
        self._readings = [self._reading(number, queues) for number in range(1, nodes + 1)]
        with store.transaction():
            JobTable(store).put(self.jobs)
            publish_thresholds(store, self.settings)
            for reading in self._readings:
                store.put_node(self._node(int(reading.node[5:])))

    def write(self) -> None:
        self.number += 1
        seen = Snapshot(tuple(self._sight(reading) for reading in self._readings), gap=1.0)
        plan = decide(seen, self.settings)
        with self.store.transaction():
            self.diary.keep(plan)
            self.samples.keep(seen, self.settings)
        publish(self.store, seen, plan, self.settings, [])

    def _node(self, number: int) -> Node:
        return Node(f"node-{number}", number, "existing", "192.0.2.1", 1024 + number, NodeState.READY, since=1.0)

    def _reading(self, number: int, queues: tuple[QueueReading, ...]) -> Reading:
        told = (
            OpenJob(job.id, job.uuid, job.queue, job.owner, 3, job.size_kb, job.created, ())
            for job in self.jobs[number - 1 :: self.nodes]
        )
        return Reading(f"node-{number}", time.monotonic(), latency=0.004, queues=queues, jobs=tuple(told))

    def _sight(self, reading: Reading) -> NodeSight:
        node = self._node(int(reading.node[5:]))
        proxies = (ProxySight(1, True, self.number % 7, "L7OK"),)
        return NodeSight(node, None, reading, backlog(reading, {}), idle_readings=9, in_state=60.0, proxies=proxies)
