"""A fault campaign: people print through the door while everything breaks, then what they were told is compared with
what came out of the printer, document by document.

    ./cupsfleet test --campaign [--seed N] [--jobs N] [--seconds N] [--nodes N] [--report FILE]

Exit status 1 when no fault had an effect, or a promise is broken: an accepted document that did not come out; one that
came out twice although its node did not die while it was printing; one with a wrong owner; a request that failed
although it was not under way on a node that died, and a door was there; a fleet that is not whole within a minute.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import aftermath, sandbox
from benchmarks.aftermath import Printed
from benchmarks.faults import Fault, Faults
from benchmarks.people import PASSWORD, USERS, Person, crowd
from benchmarks.site import Site
from benchmarks.verdict import Told, Trouble, Verdict, judge
from benchmarks.watch import Watch, cuts, violent
from tests.process.fleet import Fleet, free_port

SETTINGS = {
    "CUPSFLEET_NODES__MAX": "8",
    "CUPSFLEET_HEALTH__RESTART_BACKOFF_MAX": "5s",
    "CUPSFLEET_HEALTH__MAX_RESTARTS": "4",
    "CUPSFLEET_NODES__DRAIN_DEADLINE": "10s",
    # A fifth of a second for a page: long enough to die while one prints, and for others to wait.
    "CUPSFLEET_VIRTUAL_PRINTER__PAGES_PER_MINUTE": "300",
}


@contextmanager
def working(threads: list[threading.Thread], over: threading.Event) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def spoil(broken: Faults, people: list[Person], jobs: int, seconds: float, rate: float) -> list[str]:
    """Begin and end faults until the time is over and enough was printed; then everything is whole again.

    Each kind once in any order, then by their weights. Returns those whose turn did not come: no node could be spared.
    """
    chance, begun = broken.site.chance, time.monotonic()
    kinds = broken.kinds()
    first = chance.sample(list(kinds), len(kinds))
    upcoming = begun + 3
    while (now := time.monotonic()) < begun + seconds or sum(len(person.told) for person in people) < jobs:
        if now > upcoming:
            turn = first.pop(0) if first else None
            fault = broken.begin(turn) if turn else None
            if turn and not fault:
                first.append(turn)
            if fault := fault or broken.begin(chance.choices(list(kinds), list(kinds.values()))[0]):
                say(begun, fault.said())
            upcoming = now + chance.expovariate(rate)
        broken.end_due()
        time.sleep(0.05)
    broken.end_due(all_of_them=True)
    return sorted(set(first))


BLINDING = ("controller killed", "prober blind to all", "prober blind to one", "database locked")
LOOKS = 20.0
"""Seconds after such a fault until a new controller has looked often enough to judge a node unhealthy."""


def unseen(done: list[Fault], numbers: Mapping[str, int]) -> list[tuple[int, float, float]]:
    """The slot of a node with a full disk, and from when to when the controller can't have seen it, or not for long."""
    full = [fault for fault in done if fault.kind == "disk full" and fault.effect]
    blind = [fault for fault in done if fault.kind in BLINDING and fault.effect]
    return [
        (numbers[sandbox.DISK], since, until)
        for one in full
        for other in blind
        if other.kind != "prober blind to one" or other.nodes == one.nodes
        if (since := max(one.begun, other.begun)) < (until := min(one.ended, other.ended + LOOKS))
    ]


def campaign(fleet: Fleet, given: argparse.Namespace) -> Verdict:
    site = Site(fleet, random.Random(given.seed))
    broken, watch = Faults(site, sandbox.is_isolated()), Watch(site)
    printed = Printed(fleet.state / "printed" / "office")
    people = crowd(fleet, given.clients, given.seed)
    over, watched = threading.Event(), threading.Event()
    clients = [threading.Thread(target=person.work, args=(over, given.pause)) for person in people]
    begun = time.monotonic()
    with working([threading.Thread(target=watch.run, args=(watched,))], watched):
        with working(clients, over):
            untried = spoil(broken, people, given.jobs, given.seconds, given.rate)
        lasted = time.monotonic() - begun
        seconds, wrong = aftermath.recover(fleet, holding=True)
        say(begun, "whole again" if not wrong else "; ".join(wrong))
        broken.wait()
        told = [one for person in people for one in person.told]
        accepted = {one.name for one in told if one.accepted}
        aftermath.release(fleet, people, accepted)
        say(begun, "held documents are released")
        aftermath.settle(printed, accepted)
        say(begun, "printed")
        wrong += aftermath.recover(fleet)[1]
    for person in people:
        watch.follow(person.told, person.number)
    verdict = compare(fleet, broken, watch, told, printed)
    verdict.lasted, verdict.recovery, verdict.wrong = lasted, seconds, tuple(wrong)
    spared = [plan for plan, count in broken.killed_in.items() if not count]
    untried += [f"a controller killed in the middle of {'; '.join(spared)}"] if spared else []
    verdict.missing = (*sandbox.missing(broken.isolated), *untried)
    return verdict


def say(begun: float, what: str) -> None:
    print(f"{time.monotonic() - begun:7.1f} s  {what}", file=sys.stderr, flush=True)


def compare(fleet: Fleet, broken: Faults, watch: Watch, told: list[Told], printed: Printed) -> Verdict:
    numbers = aftermath.slots(fleet)
    trouble = Trouble(
        violent(watch.deaths, broken.done, numbers),
        cuts(broken.done, numbers),
        watch.doors,
        broken.jumps if sandbox.takes_jumps_for_time() else [],
        unseen(broken.done, numbers),
    )
    accepted = {one.name for one in told if one.accepted}
    jobs = aftermath.known_jobs(fleet, accepted | {output.name for output in printed.look()})
    charges, tried, moved = aftermath.charges(fleet), aftermath.tried(fleet), aftermath.moved(fleet)
    verdict = judge(told, printed.look(), trouble, jobs, charges, tried, moved)
    verdict.deaths = len(watch.deaths)
    verdict.faults = Counter(fault.kind for fault in broken.done if fault.effect)
    verdict.idle_faults = Counter(fault.kind for fault in broken.done if not fault.effect)
    verdict.killed_in = broken.killed_in
    verdict.commands_done, verdict.commands_left = aftermath.commands(fleet)
    return verdict


@contextmanager
def running_fleet(nodes: int) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        state = Path(folder) / "state"
        port = free_port()
        environment = {"CUPSFLEET_NODES__MIN": str(nodes), "CUPSFLEET_FRONT_DOOR__PORT": str(port)}
        fleet = Fleet(state, port, SETTINGS | environment | sandbox.clock(state))
        if sandbox.is_isolated():
            sandbox.give_disk(state)
        try:
            fleet.done("up", "--detach")
            for user in USERS[1:]:
                fleet.done("user", "add", user, stdin=PASSWORD + "\n")
            yield fleet
        finally:
            down(fleet)
            if sandbox.is_isolated():
                sandbox.take_disk(state)


def down(fleet: Fleet) -> None:
    begun = time.monotonic()
    fleet.run("down", timeout=300)
    say(begun, "for `down`")


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cupsfleet test --campaign", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the order and kind of faults, and of the documents")
    parser.add_argument("--jobs", type=int, default=0, help="documents to print at least")
    parser.add_argument("--seconds", type=float, default=90, help="time to break things for at least")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--pause", type=float, default=0.8, help="seconds between two documents of a client")
    parser.add_argument("--rate", type=float, default=0.4, help="faults per second")
    parser.add_argument("--report", type=Path, help="write the report to this file as well")
    parser.add_argument("--keep", type=Path, help="copy the fleet's state folder here when a promise is broken")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    given = arguments(words)
    sandbox.isolate([sys.executable, "-m", "benchmarks.campaign", *words])
    for what in sandbox.missing(sandbox.is_isolated()):
        print(f"NOT TRIED HERE: {what}", file=sys.stderr, flush=True)
    with running_fleet(given.nodes) as fleet:
        verdict = campaign(fleet, given)
        report = verdict.report(given.seed, given.nodes, given.clients)
        print(report, flush=True)
        if given.report:
            given.report.write_text(report)
        if not verdict.kept and given.keep:
            down(fleet)
            shutil.copytree(fleet.state, given.keep, ignore=shutil.ignore_patterns("*.sock", "bin", "cupsd"))
    return 0 if verdict.proven else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
