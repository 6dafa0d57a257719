"""What a change of membership costs: time per change, time until a dead node is out, requests that failed meanwhile.

    python -m benchmarks.membership [--kills 10] [--changes 1000] [--clients 6] [--uploads 2]

Real cupsd behind one proxy. A change is `add` (start a cupsd, occupy a slot), `weight`, `drain`, `resume` or `retire`
(leave the slot, then kill the cupsd); every tenth is a reload, by a changed user list. A node is retired as the
controller does it: drained, and idle in two readings. Exit status 1 when a request failed during the changes.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.load import Tally, crowd
from haproxy import old_workers, stats
from haproxy.install import Proxy
from haproxy.model import Edge, User
from tests.process.edge.door import answering_for, make_edge, password_hash
from tests.process.edge.nodes import Node, until

SLOTS, STAYING = 5, 2
"""Nodes, and how many of them are never touched."""
READING = 0.5
"""Seconds between two looks at whether a draining node is idle."""
HISTORY = 300


@dataclass
class Times:
    """Durations in seconds by what took them."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, what: str, action: Callable[[], object]) -> None:
        start = time.monotonic()
        action()
        self.note(what, time.monotonic() - start)

    def note(self, what: str, seconds: float) -> None:
        self.taken.setdefault(what, []).append(seconds)

    def table(self) -> str:
        rows = [f"{'':44}{'n':>6}{'median ms':>11}{'p95 ms':>9}{'max ms':>9}"]
        for what, found in self.taken.items():
            p95 = sorted(found)[max(round(len(found) * 0.95) - 1, 0)]
            middle, longest = statistics.median(found) * 1000, max(found) * 1000
            rows.append(f"{what:44}{len(found):6}{middle:11.0f}{p95 * 1000:9.0f}{longest:9.0f}")
        return "\n".join(rows)


@dataclass
class Site:
    """Nodes, the proxy before them, and who is in which state."""

    nodes: dict[int, Node]
    proxy: Proxy
    edge: Edge
    times: Times = field(default_factory=Times)
    idle_readings: dict[int, int] = field(default_factory=dict)
    guests: int = 0

    def weights(self) -> dict[int, int]:
        return {server.slot: server.weight for server in self.edge.servers}

    def tell(self, what: str, edge: Edge) -> None:
        self.times.measure(what, lambda: self.proxy.apply(edge))
        self.edge = edge

    def set(self, what: str, slot: int, weight: int | None) -> None:
        """Give the slot's node this weight; None: out of the proxy."""
        others = [server for server in self.edge.servers if server.slot != slot]
        mine = [] if weight is None else [replace(self.nodes[slot].server, weight=weight)]
        self.tell(what, replace(self.edge, servers=tuple(sorted([*others, *mine]))))

    def add(self, slot: int) -> None:
        self.nodes[slot].start()
        self.set("add", slot, 100)

    def retire(self, slot: int) -> None:
        self.set("retire", slot, None)
        self.nodes[slot].kill()
        del self.idle_readings[slot]

    def reload(self) -> None:
        self.guests += 1
        named = [person for person in self.edge.users if not person.name.startswith("guest")]
        people = (*named, User(f"guest{self.guests}", password_hash("guest")))
        self.tell("reload", replace(self.edge, users=people))

    def read_idle(self) -> None:
        """Count, for each draining node, readings in a row without a connection in the worker or in an old one."""
        busy = connections(self)
        for slot, weight in self.weights().items():
            if weight == 0:
                self.idle_readings[slot] = 0 if busy.get(slot) else self.idle_readings.get(slot, 0) + 1
            else:
                self.idle_readings.pop(slot, None)


def connections(site: Site) -> Counter[int]:
    """Sessions and queued requests by slot, and TCP connections of workers that a reload has left behind."""
    busy: Counter[int] = Counter()
    for row in stats.parse(site.proxy.runtime.ask("show stat")).servers:
        busy[row.slot] += row.current_sessions + row.queue
    ports = {node.port: slot for slot, node in site.nodes.items()}
    for port, count in old_workers.connections(site.proxy.runtime).items():
        if port in ports:
            busy[ports[port]] += count
    return busy


@contextmanager
def running_site(slots: int = SLOTS) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        nodes = {slot: Node(folder, slot, stopped_queue=False, history=HISTORY) for slot in range(1, slots + 1)}
        for node in nodes.values():
            stack.callback(node.start().kill)
        whole_port, _ = stack.enter_context(answering_for(folder, nodes.values()))
        proxy = Proxy(folder / "haproxy")
        edge = make_edge(folder, nodes.values(), whole_port=whole_port, moved_slots=(1,))
        stack.callback(proxy.stop, grace=1)
        proxy.start(edge)
        yield Site(nodes, proxy, edge)


def choose(site: Site, chance: random.Random) -> Callable[[], None] | None:
    """A change that is possible now; None when all that could change has to become idle first."""
    weights = site.weights()
    possible: list[Callable[[], None]] = []
    for slot in range(STAYING + 1, SLOTS + 1):
        if slot not in weights:
            possible.append(lambda slot=slot: site.add(slot))  # type: ignore[misc]
        elif weights[slot]:
            other = 100 if weights[slot] == 50 else 50
            possible.append(lambda slot=slot, other=other: site.set("weight", slot, other))  # type: ignore[misc]
            possible.append(lambda slot=slot: site.set("drain", slot, 0))  # type: ignore[misc]
        elif site.idle_readings.get(slot, 0) >= 2:
            possible.append(lambda slot=slot: site.retire(slot))  # type: ignore[misc]
    return chance.choice(possible) if possible else None


def change(site: Site, count: int, pause: float = 0.05) -> None:
    """That many changes, one after another; every tenth is a reload."""
    chance, done, looked = random.Random(1), 0, 0.0
    while done < count:
        if time.monotonic() - looked > READING:
            site.read_idle()
            looked = time.monotonic()
        action = site.reload if done % 10 == 9 else choose(site, chance)
        if action:
            action()
            done += 1
            if drift := site.proxy.drift(site.edge):
                raise SystemExit(f"after change {done} the proxy differs: {drift}")
        time.sleep(pause)


def up(site: Site, slot: int) -> bool:
    return stats.parse(site.proxy.runtime.ask("show stat")).server("pool", slot).up


def kill(site: Site, rounds: int, clients: int) -> Tally:
    """Kill nodes under printing clients: time until the statistics say so, and until clients no longer notice."""
    moments = []
    with crowd(site.edge.port, "demo", clients, 0) as tally:
        for number in range(rounds):
            slot = number % SLOTS + 1
            time.sleep(0.5)
            moments.append(time.monotonic())
            site.nodes[slot].kill()
            until("it is out", lambda slot=slot: not up(site, slot), 5)
            site.times.note("kill -9: out, by the statistics", time.monotonic() - moments[-1])
            time.sleep(1)
            site.nodes[slot].start()
            until("it is back", lambda slot=slot: up(site, slot), 5)
    for moment in moments:
        new = [f for f in tally.failures if not f.slot and moment <= f.ended < moment + 1.5]
        site.times.note("kill -9: last failure seen by a client", max((f.ended - moment for f in new), default=0.0))
        waits = [seconds for started, seconds in tally.slowest if moment <= started < moment + 1]
        site.times.note("kill -9: slowest job begun in the second after", max(waits, default=0.0))
    return tally


def lost(tally: Tally) -> list[str]:
    """Each reason with its count."""
    reasons = Counter((failure.kind, failure.why) for failure in tally.failures)
    return [f"{count} x {kind}: {why}" for (kind, why), count in reasons.most_common()]


def quiet_changes(site: Site, rounds: int) -> None:
    """Each kind of change without load."""
    for number in range(rounds):
        slot = STAYING + 1 + number % (SLOTS - STAYING)
        site.set("weight", slot, 50)
        site.set("drain", slot, 0)
        for _ in range(2):
            site.read_idle()
        site.retire(slot)
        site.add(slot)
        added = time.monotonic()
        until("it takes work", lambda slot=slot: up(site, slot), 5)
        site.times.note("add: then until it takes work", time.monotonic() - added)
        if number % 4 == 0:
            site.reload()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quiet", type=int, default=30, help="rounds of changes without load")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--changes", type=int, default=100, help="changes under load")
    parser.add_argument("--clients", type=int, default=6, help="keep-alive clients that print and read")
    parser.add_argument("--uploads", type=int, default=2, help="clients that upload 20 to 100 MB; half of them chunked")
    given = parser.parse_args()
    with running_site() as site:
        quiet_changes(site, given.quiet)
        print(f"changes without load, on {os.cpu_count()} cores\n{site.times.table()}", flush=True)
        site.times = Times()
        if given.kills:
            tally = kill(site, given.kills, given.clients)
            print(f"\n{given.kills} kills under {given.clients} clients\n{site.times.table()}")
            print(
                f"{sum(tally.requests.values())} requests, failed:", *(lost(tally) or ["none"]), sep="\n  ", flush=True
            )
        site.times = Times()
        tally, seconds = under_load(site, given.changes, given.clients, given.uploads)
    print(f"\n{given.changes} changes under load in {seconds:.0f} s\n{site.times.table()}")
    print(f"{dict(tally.requests)}, {tally.megabytes} MB uploaded; failed:", *(lost(tally) or ["none"]), sep="\n  ")
    return 1 if tally.failures else 0


def under_load(site: Site, changes: int, clients: int, uploads: int) -> tuple[Tally, float]:
    """The tally of the clients, and how long the changes took."""
    start = time.monotonic()
    with crowd(site.edge.port, "demo", clients, uploads) as tally:
        change(site, changes)
        seconds = time.monotonic() - start
    return tally, seconds


if __name__ == "__main__":
    raise SystemExit(main())
