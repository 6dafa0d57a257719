"""What the whole queue says while nodes and services die, hang, come and go."""

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
from pathlib import Path

import pytest

from controller import processes
from haproxy.model import slot_of
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import Fleet, eventually, stopped
from tests.process.whole_queue.asking import (
    CANCEL_JOB,
    CANCEL_MY_JOBS,
    GET_JOB,
    GET_JOBS,
    MINE,
    NODES,
    ask,
    create,
    integers,
    keyword,
    listed,
    serves,
    service,
    status,
)


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
        def took() -> float:
            begun = time.monotonic()
            assert status(ask(five, GET_JOBS)) == 0
            return time.monotonic() - begun

        with stopped(service(five)):
            assert took() < 3 + 3
            eventually(lambda: took() < 1)  # as soon as the edge knows of it
            # another node's answer would be wrong
            assert ask(five, 0x001C, integers("notify-subscription-ids", 1_000_001)) == b""
        eventually(lambda: serves(five))

    def test_nobody_gets_by_the_edge(self, five: Fleet) -> None:
        arguments = Path(f"/proc/{service(five)}/cmdline").read_bytes().split(b"\0")
        port = int(arguments[arguments.index(b"--port") + 1])
        for headers in ({}, {"X-Fleet-User": "demo"}, {"X-Fleet-User": "demo", "X-Fleet-Secret": "guess"}):
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/", ippwire.jobs_request(), headers)
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                urllib.request.urlopen(asked, timeout=20)
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

    eventually(lambda: led() == [new])
    uri = attribute(0x45, "job-uri", f"ipp://localhost/jobs/{old}")
    body = ippwire.request(CANCEL_JOB, uri)
    assert status(own_fleet.ipp(body)[1]) == 0
    assert listed(own_fleet, MINE) == []
    assert listed(own_fleet, keyword("which-jobs", "completed")) == [new]
