"""Detached processes and their records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller import processes
from machine.identity import identity_of
from tests.process.nodes.conftest import eventually


def group(leader: int) -> list[int]:
    """The living members of a process group."""
    found = subprocess.run(["pgrep", "-g", str(leader), "-r", "R,S,D,T"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "records/one.json"


def spawn(record: Path, *command: str, mark: str = "") -> int:
    environment = {"PATH": os.environ["PATH"], processes.MARK: mark}
    return processes.spawn(command, record, record.parent / "log", environment)


def test_it_runs_until_it_is_ended(record: Path) -> None:
    spawn(record, "sleep", "60")
    assert processes.running(record)
    processes.end(record)
    assert not processes.running(record)
    assert not record.exists()


def test_it_outlives_who_started_it(record: Path) -> None:
    code = f"from controller import processes; from pathlib import Path; record = Path({str(record)!r});"
    code += "processes.spawn(['sleep', '60'], record, record.with_name('log'))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert processes.running(record)
    processes.end(record)


def test_one_that_ended_by_itself_is_seen(record: Path) -> None:
    spawn(record, "true")
    assert eventually(lambda: not processes.running(record))


def test_one_that_ignores_the_request_is_killed_with_its_children(record: Path) -> None:
    pid = spawn(record, "sh", "-c", "trap '' TERM; echo deaf; sleep 61 & sleep 62")
    eventually((record.parent / "log").read_text)
    begun = time.monotonic()
    processes.end(record, 0.3)
    assert 0.3 <= time.monotonic() - begun < 20
    eventually(lambda: not group(pid))


def test_children_that_outlive_it_are_killed(record: Path) -> None:
    pid = spawn(record, "sh", "-c", "(trap '' TERM; echo deaf; sleep 61) & exec sleep 62")
    eventually((record.parent / "log").read_text)
    processes.end(record, 5)
    assert eventually(lambda: not group(pid))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x", "started": 1}', '{"pid": 1, "started": null}'])
def test_a_broken_record_names_nobody(record: Path, text: str) -> None:
    record.parent.mkdir()
    record.write_text(text)
    assert not processes.running(record)
    processes.end(record)


def test_another_process_under_the_same_id_is_left_alone(record: Path) -> None:
    record.parent.mkdir()
    us = identity_of(os.getpid())
    assert us
    record.write_text(json.dumps({"pid": us.pid, "started": us.started + 1, "boot": us.boot}))
    processes.end(record)  # would end this test


def test_one_that_was_just_killed_runs_no_more(record: Path) -> None:
    """Not even in the instant in which the kernel still shows it as running."""
    for _ in range(100):
        pid = spawn(record, "sleep", "60")
        assert processes.running(record)
        os.kill(pid, signal.SIGKILL)
        assert not processes.running(record)
        processes.end(record)
        assert identity_of(pid) is None


def test_marked_processes_are_found_wherever_they_went(record: Path) -> None:
    spawn(record, "sh", "-c", "setsid setsid sleep 63 & exec sleep 64", mark="unit-test-mark")
    eventually(lambda: len(list(processes.marked("unit-test-mark"))) == 2)
    assert list(processes.marked("unit-test-mar")) == []
    assert processes.end_marked("unit-test-mark") >= 2  # the shell may still be on its way to the second sleep
    assert list(processes.marked("unit-test-mark")) == []
    assert list(processes.marked("unit-test-mark")) == []
    assert not processes.running(record)


def test_a_long_log_is_set_aside(record: Path) -> None:
    record.parent.mkdir()
    log = record.parent / "log"
    log.write_bytes(b"x" * (processes.LOG_BYTES + 1))
    spawn(record, "echo", "new")
    eventually(lambda: log.exists() and log.read_text() == "new\n")
    assert (record.parent / "log.old").stat().st_size == processes.LOG_BYTES + 1
