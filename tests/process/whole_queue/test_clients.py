"""What people have (lpstat, cancel, CUPS's own tests, a phone) while nodes die and join: as with one server."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import TypeVar

from controller import processes
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import Fleet, eventually
from tests.process.whole_queue.asking import (
    CANCEL_JOB,
    GET_JOBS,
    HELD,
    MINE,
    NODES,
    ask,
    integers,
    keyword,
    listed,
    program,
    status,
)

ROUNDS = 5
"""Each with the death of a node."""
ID = "notify-subscription-id"
PULL = b"\x06" + attribute(0x44, "notify-pull-method", "ippget") + keyword("notify-events", "job-created")
T = TypeVar("T")


class Weather:
    """Nodes die one after the other, each when the one before is back, while another one joins and leaves."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.over, self.deaths = fleet, threading.Event(), 0
        self.names = [node["name"] for node in fleet.nodes()]
        self.threads = [threading.Thread(target=self.kill), threading.Thread(target=self.join)]
        self.faults: list[BaseException] = []

    def kill(self) -> None:
        with self.watched():
            while not self.over.wait(0.5):
                self.kill_one(self.names[self.deaths % NODES])

    def kill_one(self, name: str) -> None:
        pid, record = self.fleet.pid_of(name), self.fleet.state / "nodes" / name / "process"
        os.kill(pid, signal.SIGKILL)
        self.deaths += 1
        eventually(lambda: processes.recorded_pid(record) not in (None, pid))
        eventually(lambda: self.ready(name))

    def ready(self, name: str) -> bool:
        return any(node["name"] == name and node["state"] == "ready" for node in self.fleet.status()["nodes"])

    def join(self) -> None:
        with self.watched():
            while not self.over.is_set():
                added = self.fleet.done("add", "--wait").strip()
                self.fleet.done("retire", added, "--wait")

    @contextmanager
    def watched(self) -> Iterator[None]:
        try:
            yield
        except BaseException as fault:
            self.faults.append(fault)


@contextmanager
def weather(fleet: Fleet) -> Iterator[Weather]:
    found = Weather(fleet)
    for thread in found.threads:
        thread.start()
    try:
        yield found
    finally:
        found.over.set()
        for thread in found.threads:
            thread.join()
    assert found.faults == []


class Phone:
    """What Android's print service does (Mopria): a job, and another connection that polls the queue for it."""

    KIND = attribute(0x49, "document-format", "application/octet-stream")
    WANTED = keyword("requested-attributes", "job-id", "job-state", "job-state-reasons", "job-name")

    def __init__(self, fleet: Fleet, user: str) -> None:
        self.fleet, self.user, self.cut = fleet, user, 0
        """cut: requests that were under way on a node when it died, and were sent again."""

    def prints_and_cancels(self, name: str) -> None:
        assert status(self.until(lambda: ask(self.fleet, 0x0004, self.KIND, user=self.user))) == 0
        title = attribute(0x42, "job-name", name)
        made = self.until(lambda: self.print(title))
        assert status(made) < 0x100, made
        (job,) = ippwire.integers(made, "job-id")
        polled = ask(self.fleet, GET_JOBS, MINE, self.WANTED, user=self.user)
        assert job in ippwire.integers(polled, "job-id")
        assert name.encode() in ippwire.values(polled, "job-name")
        for mine in ippwire.integers(polled, "job-id"):  # beside it one whose answer was cut off, if any
            self.cancel(mine)
        eventually(lambda: listed(self.fleet, MINE, user=self.user) == [])
        ended = keyword("which-jobs", "completed")
        eventually(lambda: job in listed(self.fleet, MINE, ended, user=self.user))

    def print(self, title: bytes) -> bytes:
        code, body = self.fleet.ipp(ippwire.print_job(title, groups=HELD), self.user)
        return body if code == 200 else b""

    def cancel(self, job: int) -> None:
        answer = self.until(lambda: ask(self.fleet, CANCEL_JOB, integers("job-id", job), user=self.user))
        assert status(answer) in (0, 0x0404)  # not possible: it was done, and the answer was cut off

    def until(self, request: Callable[[], bytes]) -> bytes:
        """The answer to a request that is sent again when its node dies or is being restarted."""
        deadline = time.monotonic() + 30
        while True:
            try:
                if answer := request():
                    return answer
            except (OSError, HTTPException):
                self.cut += 1
            assert time.monotonic() < deadline
            time.sleep(0.2)


class Subscriber:
    """Who follows the queue on every node, as far as that can be told at the moment."""

    def __init__(self, fleet: Fleet, user: str) -> None:
        self.fleet, self.user = fleet, user
        self.made = {ippwire.integers(ask(fleet, 0x0016, groups=PULL, user=user), ID)[0] for _ in range(NODES)}

    def looks(self) -> None:
        answer = ask(self.fleet, 0x0019, attribute(0x22, "my-subscriptions", b"\1"), user=self.user)
        assert status(answer) == 0
        listed = ippwire.integers(answer, ID)
        assert listed == sorted(set(listed))
        if set(listed) != self.made:
            assert set(listed) < self.made
            assert b"subscriptions there are left out" in ippwire.values(answer, "status-message")[0]
        assert self.notified() in (0, -1)  # or nothing at all, while one that has some is silent

    def notified(self) -> int:
        return status(ask(self.fleet, 0x001C, integers("notify-subscription-ids", *self.made), user=self.user))


def test_all_of_them_while_nodes_die_and_join(five: Fleet, held: dict[str, list[int]]) -> None:
    phone, others = Phone(five, "bob"), {*held["demo"], *held["alice"]}
    subscriber = Subscriber(five, "demo")
    for job in held["bob"]:
        assert status(ask(five, CANCEL_JOB, integers("job-id", job), user="bob")) == 0
    with weather(five) as outside:
        turn = 0
        while outside.deaths < ROUNDS and not outside.faults:
            turn += 1
            assert others <= set(listed(five))
            for name in ("demo", "alice"):
                assert sorted(listed(five, MINE, user=name)) == sorted(held[name])
            subscriber.looks()
            phone.prints_and_cancels(f"photo {turn}")
            code, shown = program(five, "lpstat", "-o")
            assert code == 0, shown
            assert others <= {int(job) for job in re.findall(r"office-(\d+)", shown)}
            for test in ("get-jobs.test", "get-completed-jobs.test"):
                run = five.ipptool(test)
                assert run.returncode == 0, run.stdout
        assert phone.cut <= outside.deaths
        eventually(lambda: program(five, "cancel", "-u", "alice", user="alice")[0] == 0)
        assert sorted(listed(five, MINE)) == sorted(held["demo"])
        eventually(lambda: program(five, "cancel", "-a", user="admin")[0] == 0)
    eventually(lambda: listed(five) == [])
    eventually(lambda: len(five.nodes()) == NODES)
    eventually(lambda: subscriber.notified() == 0)
    subscriber.looks()
