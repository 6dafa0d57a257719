"""Five nodes answer as one printer: lists, counts, cancelling, subscriptions, also while nodes and services die."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from controller import processes
from haproxy.model import slot_of
from tests.fleets import end, make_fleet
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import Fleet, eventually, with_password

PEOPLE = ("demo", "alice", "bob")
NODES = 5
GET_JOBS, GET_JOB, CANCEL_MY_JOBS, CANCEL_JOB = 0x000A, 0x0009, 0x0039, 0x0008
HELD = b"\x02" + attribute(0x44, "job-hold-until", "indefinite")


def make_people(fleet: Fleet) -> None:
    for name in PEOPLE[1:]:
        fleet.done("user", "add", name, stdin=f"{name}-secret\n")
        with (fleet.state / "passwords").open("a") as known:
            known.write(f"{name} {name}-secret\n")
    eventually(lambda: all(fleet.ipp(ippwire.jobs_request(), name)[0] == 200 for name in PEOPLE))


def service(fleet: Fleet) -> int:
    """Process id of the service for the whole queue, once it runs."""

    def running() -> int | None:
        records = (fleet.state / "processes").glob("whole-queue-*.json")
        return next((pid for record in records if (pid := processes.recorded_pid(record))), None)

    found = eventually(running)
    assert found
    return found


def serves(fleet: Fleet) -> bool:
    """Whether the edge sends questions to the service: nobody else answers this one."""
    return (
        fleet.ipp(ippwire.request(0x001C, ippwire.printer(), attribute(0x21, "notify-subscription-ids", 1)))[0] == 200
    )


@pytest.fixture(scope="module")
def five() -> Iterator[Fleet]:
    made = make_fleet({"CUPSFLEET_NODES__MIN": str(NODES), "CUPSFLEET_WHOLE_QUEUE__DEADLINE": "1s"})
    try:
        made.up()
        make_people(made)
        eventually(lambda: serves(made))
        yield made
    finally:
        end(made)


@pytest.fixture
def held(five: Fleet) -> Iterator[dict[str, list[int]]]:
    """Held jobs of each person on each node, in the order in which they were made."""
    made: dict[str, list[int]] = {name: [] for name in PEOPLE}
    for turn in range(2):
        for name in PEOPLE:
            made[name] += [create(five, name, f"{name} {turn}.{number}") for number in range(NODES)]
    assert all({slot_of(job) for job in jobs} == set(range(1, NODES + 1)) for jobs in made.values())
    yield made
    for name in PEOPLE:
        eventually(partial(cancelled, five, name), 30)


def cancelled(fleet: Fleet, user: str) -> bool:
    return status(ask(fleet, CANCEL_MY_JOBS, user=user)) == 0


def ask(fleet: Fleet, operation: int, *attributes: bytes, user: str = "demo", groups: bytes = b"") -> bytes:
    """The IPP answer to a request on the queue `office`; b"" when there was none in IPP."""
    code, body = fleet.ipp(ippwire.request(operation, ippwire.printer(), *attributes, groups=groups), user)
    return body if code == 200 else b""


def status(answer: bytes) -> int:
    return ippwire.status(answer) if answer else -1


def create(fleet: Fleet, user: str, name: str) -> int:
    answer = ask(fleet, 0x0005, attribute(0x42, "job-name", name), user=user, groups=HELD)
    return ippwire.integers(answer, "job-id")[0]


def keyword(name: str, *values: str) -> bytes:
    return b"".join(attribute(0x44, name if place == 0 else "", value) for place, value in enumerate(values))


def integers(name: str, *values: int) -> bytes:
    return b"".join(attribute(0x21, name if place == 0 else "", value) for place, value in enumerate(values))


def listed(fleet: Fleet, *attributes: bytes, user: str = "demo") -> list[int]:
    answer = ask(fleet, GET_JOBS, *attributes, user=user)
    assert status(answer) == 0
    return ippwire.integers(answer, "job-id")


MINE = attribute(0x22, "my-jobs", b"\1")


class TestLists:
    def test_everybody_sees_all_jobs_every_time(self, five: Fleet, held: dict[str, list[int]]) -> None:
        everything = sorted(job for jobs in held.values() for job in jobs)
        for name in PEOPLE:
            for _ in range(3):
                assert sorted(listed(five, user=name)) == everything
                assert sorted(listed(five, MINE, user=name)) == sorted(held[name])

    def test_order_is_by_age_and_priority(self, five: Fleet, held: dict[str, list[int]]) -> None:
        time.sleep(1.1)  # CUPS knows a job's age in seconds
        last = create(five, "demo", "the last one")
        time.sleep(1.1)
        urgent = HELD + attribute(0x21, "job-priority", 90)
        first = ippwire.integers(ask(five, 0x0005, groups=urgent), "job-id")[0]
        for limit in (0, 1, 7):
            shown = listed(five, *([integers("limit", limit)] if limit else []))
            assert shown[0] == first
            assert limit in (0, len(shown))
            assert last not in shown[:-1]

    def test_a_client_that_pages_meets_every_job_once(self, five: Fleet, held: dict[str, list[int]]) -> None:
        met: list[int] = []
        which = keyword("which-jobs", "all")
        while page := listed(five, which, integers("limit", 4), integers("first-job-id", max(met, default=0) + 1)):
            met += page
        assert met == sorted(set(met))
        assert set(met) >= {job for jobs in held.values() for job in jobs}

    def test_finished_jobs_newest_first(self, five: Fleet, held: dict[str, list[int]]) -> None:
        ended = []
        for job in (held["demo"][0], held["demo"][3], held["demo"][1]):
            assert status(ask(five, CANCEL_JOB, integers("job-id", job))) == 0
            ended.append(job)
            time.sleep(1.1)
        assert listed(five, MINE, keyword("which-jobs", "completed"), integers("limit", 3)) == ended[::-1]

    def test_named_jobs_come_in_the_order_of_their_naming(self, five: Fleet, held: dict[str, list[int]]) -> None:
        wanted = [held["demo"][4], held["alice"][0], held["demo"][2]]
        assert listed(five, integers("job-ids", *wanted)) == wanted
        assert status(ask(five, GET_JOBS, integers("job-ids", *wanted, 1_999_999))) == 0x0406
        assert status(ask(five, GET_JOBS, integers("job-ids", *wanted), integers("limit", 1))) == 0x040E

    def test_names_of_others_stay_private(self, five: Fleet, held: dict[str, list[int]]) -> None:
        wanted = keyword("requested-attributes", "job-id", "job-name", "job-originating-user-name")
        answer = ask(five, GET_JOBS, wanted)
        assert len(ippwire.values(answer, "job-id")) == 3 * len(held["demo"])
        assert set(ippwire.values(answer, "job-originating-user-name")) == {b"demo"}
        assert all(name.startswith(b"demo ") for name in ippwire.values(answer, "job-name"))

    def test_a_wrong_question_is_refused_as_by_one_server(self, five: Fleet) -> None:
        answer = ask(five, GET_JOBS, keyword("which-jobs", "nonsense"))
        assert status(answer) == 0x040B
        assert ippwire.values(answer, "which-jobs") == [b"nonsense"]

    def test_counts_of_the_whole_queue(self, five: Fleet, held: dict[str, list[int]]) -> None:
        wanted = keyword("requested-attributes", "queued-job-count", "printer-state", "printer-name")
        for operation in (0x000B, 0x4002, 0x000B, 0x4002):  # again: what was read once may be remembered
            answer = ask(five, operation, wanted)
            assert ippwire.integers(answer, "queued-job-count") == [sum(map(len, held.values()))]
            assert ippwire.values(answer, "printer-name") == [b"office"]

    @pytest.mark.parametrize("test", ["get-jobs.test", "get-completed-jobs.test"])
    def test_cups_own_tests(self, five: Fleet, held: dict[str, list[int]], test: str) -> None:
        ask(five, CANCEL_JOB, integers("job-id", held["demo"][0]))
        run = five.ipptool(test)
        assert run.returncode == 0, run.stdout

    def test_lpstat_shows_the_same_list_each_time(self, five: Fleet, held: dict[str, list[int]]) -> None:
        shown = [program(five, "lpstat", "-o") for _ in range(2)]
        assert shown[0] == shown[1]
        assert shown[0][1].count("office-") == 3 * len(held["demo"])


def program(fleet: Fleet, name: str, *arguments: str, user: str = "demo") -> tuple[int, str]:
    """A program of CUPS's that talks to the door."""
    return with_password([name, "-h", f"localhost:{fleet.port}", "-U", user, "-E", *arguments], fleet.password(user))


class TestCancelling:
    def test_all_my_jobs(self, five: Fleet, held: dict[str, list[int]]) -> None:
        code, said = program(five, "cancel", "-u", "alice", user="alice")
        assert code == 0, said
        assert listed(five, MINE, user="alice") == []
        assert sorted(listed(five)) == sorted(held["demo"] + held["bob"])

    def test_named_ones_on_several_nodes_all_or_none(self, five: Fleet, held: dict[str, list[int]]) -> None:
        mine, foreign = held["demo"][:3], held["bob"][0]
        assert status(ask(five, CANCEL_MY_JOBS, integers("job-ids", *mine, foreign))) == 0x0406
        assert status(ask(five, CANCEL_MY_JOBS, integers("job-ids", foreign))) == 0x0406
        assert len(listed(five)) == 3 * len(held["demo"])
        assert status(ask(five, CANCEL_MY_JOBS, integers("job-ids", *mine))) == 0
        assert sorted(listed(five, MINE)) == sorted(held["demo"][3:])

    def test_everybodys_jobs_are_for_administrators(self, five: Fleet, held: dict[str, list[int]]) -> None:
        code, _ = program(five, "cancel", "-a")
        assert code == 1
        assert len(listed(five)) == 3 * len(held["demo"])
        code, said = program(five, "cancel", "-a", user="admin")
        assert code == 0, said
        assert listed(five) == []


class TestPhone:
    """What Android's print service does (Mopria): two connections, one of which polls the queue."""

    def test_it_finds_follows_and_cancels_its_job(self, five: Fleet, held: dict[str, list[int]]) -> None:
        kind = attribute(0x49, "document-format", "application/octet-stream")
        assert status(ask(five, 0x0004, kind, user="bob")) == 0
        for job in held["bob"]:
            ask(five, CANCEL_JOB, integers("job-id", job), user="bob")
        for number in range(2 * NODES):
            body = ippwire.print_job(attribute(0x42, "job-name", f"photo {number}"), groups=HELD)
            job = ippwire.integers(five.ipp(body, "bob")[1], "job-id")[0]
            wanted = keyword("requested-attributes", "job-id", "job-state", "job-state-reasons", "job-name")
            polled = ask(five, GET_JOBS, MINE, wanted, user="bob")
            assert ippwire.integers(polled, "job-id") == [job]
            first = ippwire.integers(polled, "job-id")[0]
            assert status(ask(five, CANCEL_JOB, integers("job-id", first), user="bob")) == 0
            assert listed(five, MINE, user="bob") == []
            ended = keyword("which-jobs", "completed")
            assert job in listed(five, MINE, ended, user="bob")


class TestSubscriptions:
    PULL = b"\x06" + attribute(0x44, "notify-pull-method", "ippget") + keyword("notify-events", "job-created")

    def test_all_are_listed_and_events_of_several_nodes_come_together(self, five: Fleet) -> None:
        made = [self.subscribe(five) for _ in range(NODES)]
        assert {slot_of(one) for one in made} == set(range(1, NODES + 1))
        listed = ask(five, 0x0019, attribute(0x22, "my-subscriptions", b"\1"))
        assert set(made) <= set(ippwire.integers(listed, "notify-subscription-id"))
        assert ippwire.integers(listed, "notify-subscription-id") == sorted(
            ippwire.integers(listed, "notify-subscription-id")
        )
        mine = {create(five, "demo", "my secret") for _ in range(NODES)}
        others = {create(five, "bob", "bob's secret") for _ in range(NODES)}
        answer = ask(five, 0x001C, integers("notify-subscription-ids", *made))
        assert status(answer) == 0
        assert set(ippwire.integers(answer, "notify-job-id")) == mine | others
        assert set(ippwire.values(answer, "job-name")) == {b"my secret"}
        assert status(ask(five, 0x001C, integers("notify-subscription-ids", *made), user="bob")) != 0
        for user in ("demo", "bob"):
            ask(five, CANCEL_MY_JOBS, user=user)

    def subscribe(self, fleet: Fleet) -> int:
        answer = ask(fleet, 0x0016, groups=self.PULL)
        return ippwire.integers(answer, "notify-subscription-id")[0]

    def test_only_the_owner_subscribes_to_a_job(self, five: Fleet, held: dict[str, list[int]]) -> None:
        for job in held["demo"][:NODES]:
            groups = self.PULL + integers("notify-job-id", job)
            assert status(ask(five, 0x0016, groups=groups, user="bob")) == 0x0406
            assert status(ask(five, 0x0016, groups=groups)) == 0


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class TestFailures:
    def test_jobs_of_a_dead_node_are_told_truthfully(self, five: Fleet, held: dict[str, list[int]]) -> None:
        everything = sorted(job for jobs in held.values() for job in jobs)
        known = {row["id"] for row in eventually(lambda: five_jobs(five, len(everything)))}
        assert known == set(everything)
        node = five.nodes()[0]
        job = next(one for one in held["demo"] if slot_of(one) == node["slot"])
        wanted = keyword("requested-attributes", "job-id", "job-state", "job-state-reasons", "job-name")
        told: set[bytes] = set()
        for _ in range(3):  # a restart may be quicker than one look at it
            pid = five.pid_of(node["name"])
            os.kill(pid, signal.SIGKILL)
            assert sorted(listed(five)) == everything
            time.sleep(0.8)  # until then the edge itself tries the connection again
            while not self.back(five, node["name"], pid):
                assert sorted(listed(five)) == everything
                answer = ask(five, GET_JOB, integers("job-id", job), wanted)
                assert status(answer) == 0
                assert ippwire.integers(answer, "job-state") == [4]
                assert ippwire.values(answer, "job-name")[0].startswith(b"demo 0.")
                told |= set(ippwire.values(answer, "job-state-reasons"))
            eventually(lambda: len(five.nodes()) == NODES, 30)
            assert sorted(listed(five)) == everything
            if b"printer-stopped" in told:
                break
        assert b"printer-stopped" in told

    def back(self, fleet: Fleet, node: str, pid: int) -> bool:
        """Whether the node runs again, as another process than `pid`."""
        found = processes.recorded_pid(fleet.state / "nodes" / node / "process")
        return found not in (None, pid)

    def test_a_node_that_hangs_costs_little_and_loses_nothing(self, five: Fleet, held: dict[str, list[int]]) -> None:
        everything = sorted(job for jobs in held.values() for job in jobs)
        eventually(lambda: five_jobs(five, len(everything)))
        with stopped(five.pid_of(five.nodes()[1]["name"])):
            assert sorted(listed(five)) == everything
            begun = time.monotonic()
            for _ in range(3):
                answer = ask(five, GET_JOBS)
                assert sorted(ippwire.integers(answer, "job-id")) == everything
                assert b"did not answer in time" in ippwire.values(answer, "status-message")[0]
            assert time.monotonic() - begun < 3 * 1.5
            assert status(ask(five, CANCEL_MY_JOBS)) == 0x0505
        eventually(lambda: status(ask(five, CANCEL_MY_JOBS)) == 0, 30)
        assert listed(five, MINE) == []

    def test_nodes_come_and_go_under_polling(self, five: Fleet, held: dict[str, list[int]]) -> None:
        everything = sorted(job for jobs in held.values() for job in jobs)
        adding = subprocess.Popen(
            [sys.executable, "-m", "controller", "add", "--wait", "--state", str(five.state)],
            stdout=subprocess.PIPE,
            text=True,
        )
        while adding.poll() is None:
            assert sorted(listed(five)) == everything
        assert adding.stdout is not None
        name = adding.stdout.read().strip()
        adding.stdout.close()
        assert sorted(listed(five)) == everything
        five.done("retire", name, "--wait")
        assert sorted(listed(five)) == everything

    def test_without_the_service_a_node_answers_and_it_comes_back(self, five: Fleet) -> None:
        pid = service(five)
        os.kill(pid, signal.SIGKILL)
        for _ in range(5):
            assert status(ask(five, GET_JOBS)) == 0
        eventually(lambda: service(five) != pid)
        eventually(lambda: serves(five))

    def test_a_service_that_hangs_is_passed_by(self, five: Fleet) -> None:
        with stopped(service(five)):
            begun = time.monotonic()
            assert status(ask(five, GET_JOBS)) == 0
            assert time.monotonic() - begun < 3 + 3
            begun = time.monotonic()
            assert status(ask(five, GET_JOBS)) == 0
            assert time.monotonic() - begun < 1
            # another node's answer would be wrong
            assert ask(five, 0x001C, integers("notify-subscription-ids", 1_000_001)) == b""
        eventually(lambda: serves(five))

    def test_nobody_gets_by_the_edge(self, five: Fleet) -> None:
        arguments = Path(f"/proc/{service(five)}/cmdline").read_bytes().split(b"\0")
        port = int(arguments[arguments.index(b"--port") + 1])
        for headers in ({}, {"X-Fleet-User": "demo"}, {"X-Fleet-User": "demo", "X-Fleet-Secret": "guess"}):
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/", ippwire.jobs_request(), headers)
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                urllib.request.urlopen(asked, timeout=5)
            refused.value.close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((_outward(), port), timeout=2)


def five_jobs(fleet: Fleet, count: int) -> list[dict[str, object]]:
    """The open jobs that the controller knows, once they are so many."""
    rows: list[dict[str, object]] = json.loads(fleet.done("jobs", "--json"))
    return rows if len(rows) == count else []


def _outward() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def test_the_old_id_of_a_moved_job_leads_to_it(own_fleet: Fleet) -> None:
    own_fleet.up()
    eventually(lambda: serves(own_fleet))
    old = create(own_fleet, "demo", "on its way")
    last = integers("job-id", old) + attribute(0x22, "last-document", b"\1")
    sent = ippwire.request(0x0006, ippwire.printer(), last, attribute(0x49, "document-format", "text/plain"))
    assert status(own_fleet.ipp(sent + b"held\n")[1]) == 0
    (known,) = eventually(lambda: [row for row in five_jobs(own_fleet, 1) if row["size_kb"]])
    own_fleet.done("evacuate", str(known["node"]))
    met = set()

    def moved() -> list[int]:
        shown = listed(own_fleet, MINE)
        met.add(len(shown))
        return [job for job in shown if job != old]

    (new,) = eventually(moved)
    assert met == {1}
    assert listed(own_fleet, keyword("which-jobs", "completed"), integers("limit", 5)) == []

    def led() -> list[int]:
        answer = ask(own_fleet, GET_JOB, integers("job-id", old))
        return ippwire.integers(answer, "job-id") if ippwire.integers(answer, "job-state") == [4] else []

    assert eventually(led) == [new]
    uri = attribute(0x45, "job-uri", f"ipp://localhost/jobs/{old}")
    body = ippwire.request(CANCEL_JOB, uri)
    assert status(own_fleet.ipp(body)[1]) == 0
    assert listed(own_fleet, MINE) == []
    assert listed(own_fleet, keyword("which-jobs", "completed")) == [new]
