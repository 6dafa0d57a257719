"""kill -9 of nodes of a whole fleet under printing clients: which requests fail, and how long until all is well again.

    python -m benchmarks.kill [--kills 6] [--clients 20] [--nodes 3] [--proxy-kills 5]

Every client prints distinct documents over a connection that it keeps. A failure is *in flight* when its request had
been started before the node's process was gone, with all its connections, else *new*; after a kill the node's own
jobs are asked for until it is back. At the end every accepted job has to be in the printer's output. Then HAProxy's
master is killed, with and without a controller, until a new one answers a question. Exit status 1 when a new job
failed, an accepted one is lost, or HAProxy was away for two seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.fleet import running_fleet
from benchmarks.load import Tally, ask_for, read_request
from benchmarks.membership import Times, lost
from haproxy import stats
from haproxy.install import Proxy
from haproxy.process import recorded
from machine.identity import identity_of
from tests.process.edge import ippwire
from tests.process.edge.door import Client
from tests.process.fleet import Fleet, eventually

MARK = re.compile(rb"document (\d+-\d+)\n")
AT_ONCE = 0.2
"""Seconds before a node's death is noticed here in which its connections may have ended."""
PAUSE = 0.5
"""Seconds between two jobs of a client: each has to be printed by a process of its own on the same cores."""


@dataclass
class Person:
    """A client with its own connection, who prints one document after another."""

    number: int
    client: Client
    tally: Tally = field(default_factory=Tally)
    accepted: dict[str, int] = field(default_factory=dict)
    """Job id by document."""

    def work(self, done: threading.Event) -> None:
        count = 0
        while not done.is_set():
            count += 1
            name = f"{self.number}-{count}"
            body = ippwire.print_job(document=b"document " + name.encode() + b"\n" + os.urandom(5000).hex().encode())
            if answer := self.tally.attempt("job", self.client, body):
                self.accepted[name] = ippwire.integers(answer, "job-id")[0]
            done.wait(PAUSE)


@contextmanager
def printing(people: list[Person]) -> Iterator[None]:
    done = threading.Event()
    threads = [threading.Thread(target=person.work, args=(done,)) for person in people]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


@dataclass
class Questions:
    """What was answered about jobs of a killed node until it was back."""

    statuses: Counter[str] = field(default_factory=Counter)
    back: bool = False

    def ask(self, client: Client, job: int) -> None:
        """Once. A clean 503 says that the node does not answer, and when to ask again."""
        try:
            answer = client.send(ask_for(job))
        except OSError as error:
            self.statuses[repr(error)] += 1
            return
        if answer.status == 503 and b"does not answer" in answer.body and "retry-after" in answer.headers:
            self.statuses["clean 503"] += 1
        elif answer.status == 200:
            status = ippwire.status(answer.body)
            self.back = status < 0x100
            self.statuses["200" if self.back else f"IPP status {status:#06x}"] += 1
        else:
            self.statuses[f"{answer.status} {answer.body[:60]!r}"] += 1


def kill(fleet: Fleet, node: dict[str, object], people: list[Person], times: Times, questions: Questions) -> float:
    """One kill, awaited to its end; when the node was dead."""
    slot = int(str(node["slot"]))
    job = next(job for person in people for job in list(person.accepted.values()) if (job - 1) // 1_000_000 == slot)
    client = Client(fleet.port, "demo", fleet.password())
    proxy = Proxy(fleet.state / "proxy-1")

    def out() -> bool:
        return not stats.parse(proxy.runtime.ask("show stat")).server("pool", slot).up

    pid = fleet.pid_of(str(node["name"]))
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: identity_of(pid) is None, 5, 0.001)
    dead = time.monotonic()
    times.note("kill -9 until the process is gone", dead - killed)
    eventually(out, 10, 0.01)
    times.note("out of rotation", time.monotonic() - killed)
    questions.back = False
    while not questions.back:
        questions.ask(client, job)
        time.sleep(0.05)
        if time.monotonic() - killed > 30:
            break
    times.note("back with its jobs", time.monotonic() - killed)
    eventually(lambda: not out() and fleet.nodes(), 30, 0.2)
    return dead


@dataclass
class Verdict:
    """What it cost, all kills together."""

    tally: Tally
    in_flight: int
    new: list[str]
    """Reasons of failures that began after the node was gone, with the milliseconds since then."""
    questions: Questions
    times: Times
    accepted: int
    printed: Counter[str]
    lost: list[str]

    @property
    def sound(self) -> bool:
        return not self.new and not self.lost and set(self.questions.statuses) <= {"200", "clean 503"}


def run(fleet: Fleet, clients: int, kills: int) -> Verdict:
    """Print and kill; every node in turn."""
    people = [Person(n, Client(fleet.port, "demo", fleet.password())) for n in range(clients)]
    nodes, times, questions, moments = fleet.nodes(), Times(), Questions(), []
    with printing(people):
        time.sleep(3)
        for number in range(kills):
            moments.append(kill(fleet, nodes[number % len(nodes)], people, times, questions))
            eventually(lambda: len(fleet.nodes()) == len(nodes), 30, 0.2)
            time.sleep(2)
    total = Tally()
    for person in people:
        total.add(person.tally)
    new = [f for f in total.failures if not any(f.started < dead < f.ended + AT_ONCE for dead in moments)]
    accepted = {name for person in people for name in person.accepted}
    missing = awaited(fleet, accepted)
    return Verdict(
        tally=total,
        in_flight=len(total.failures) - len(new),
        new=[
            f"{min((f.started - d for d in moments if f.started > d), default=0) * 1000:.1f} ms: {f.why}" for f in new
        ],
        questions=questions,
        times=times,
        accepted=len(accepted),
        printed=marks(fleet),
        lost=sorted(missing),
    )


PROXY_BACK = 2.0
"""Seconds within which a killed HAProxy has to answer again."""


def kill_proxies(fleet: Fleet, kills: int) -> Times:
    """So many kills with a controller, which starts the proxy again, and as many without, where the keeper does."""
    times = Times()
    for alone, what in ((False, "HAProxy answers again, with a controller"), (True, "… without one")):
        if alone:
            os.kill(fleet.controller(), signal.SIGKILL)
        for _ in range(kills):
            times.note(what, kill_proxy(fleet))
            time.sleep(2)
    fleet.up()
    return times


def kill_proxy(fleet: Fleet) -> float:
    """Seconds from the signal until a new connection led to an answer of another master's worker."""
    folder = fleet.state / "proxy-1"
    died = recorded(folder)
    assert died is not None
    killed = time.monotonic()
    os.kill(died.pid, signal.SIGKILL)
    eventually(lambda: recorded(folder) not in (None, died), 30, 0.01)
    eventually(lambda: answers(fleet), 30, 0.01)
    return time.monotonic() - killed


def answers(fleet: Fleet) -> bool:
    try:
        return Client(fleet.port, "demo", fleet.password(), timeout=2).send(read_request()).status == 200
    except OSError:
        return False


def marks(fleet: Fleet) -> Counter[str]:
    """How many times each document left the printer."""
    return Counter(found[1].decode() for text in fleet.printed() if (found := MARK.match(text)))


def awaited(fleet: Fleet, accepted: set[str], patience: float = 20) -> set[str]:
    """Accepted documents that are still not printed when nothing was printed for `patience` seconds."""
    missing, since = accepted - set(marks(fleet)), time.monotonic()
    while missing and time.monotonic() - since < patience:
        time.sleep(1)
        left = accepted - set(marks(fleet))
        if left != missing:
            missing, since = left, time.monotonic()
    return missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--proxy-kills", type=int, default=5, help="with a controller, and as many without")
    given = parser.parse_args()
    with running_fleet(given.nodes) as fleet:
        found = run(fleet, given.clients, given.kills)
        proxies = kill_proxies(fleet, given.proxy_kills)
    twice = sum(1 for count in found.printed.values() if count > 1)
    print(f"{given.kills} kills of {given.nodes} nodes under {given.clients} clients\n{found.times.table()}")
    print(f"jobs sent: {found.tally.requests['job']}, accepted: {found.accepted}")
    print(f"failed: {found.in_flight} in flight on the killed node; {len(found.tally.failures) - found.in_flight} new")
    print("", *lost(found.tally), sep="\n  ")
    print(f"new failures: {found.new or 'none'}")
    print(f"questions about jobs of the killed node: {dict(found.questions.statuses)}")
    print(f"accepted and not printed: {found.lost or 'none'}; on paper more than once: {twice}")
    print(proxies.table())
    away = [seconds for taken in proxies.taken.values() for seconds in taken if seconds > PROXY_BACK]
    return 0 if found.sound and not away else 1


if __name__ == "__main__":
    raise SystemExit(main())
