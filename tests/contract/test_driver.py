"""What every driver that owns its nodes promises. The fake passes the same suite, so unit tests may trust it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from controller import processes
from controller.nodes.driver import Driver, NodeError, NodeSpec
from controller.nodes.process import ProcessDriver
from tests.contract.fake_driver import FakeDriver
from tests.process.fleet import free_port


class Killable(Driver, Protocol):
    def kill(self, spec: NodeSpec) -> None: ...


class KillableProcessDriver(ProcessDriver):
    def kill(self, spec: NodeSpec) -> None:
        pid = processes.recorded_pid(spec.folder / "process")
        assert pid
        os.kill(pid, signal.SIGKILL)


KINDS: list[Callable[[], Killable]] = [FakeDriver, KillableProcessDriver]


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest) -> Killable:
    made: Killable = request.param()
    return made


@pytest.fixture
def spec(driver: Killable, tmp_path: Path) -> Iterator[NodeSpec]:
    made = NodeSpec("n1", 1, 1_000_001, "127.0.0.1", free_port(), tmp_path / "nodes/n1")
    yield made
    driver.remove(made)


def test_a_started_node_is_alive(driver: Killable, spec: NodeSpec) -> None:
    driver.start(spec)
    assert driver.alive(spec)


def test_a_started_node_is_not_outdated(driver: Killable, spec: NodeSpec) -> None:
    assert not driver.outdated(spec)
    driver.start(spec)
    assert not driver.outdated(spec)
    assert driver.owns_queues


def test_a_started_node_tells_its_room_and_one_without_a_spool_none(driver: Killable, spec: NodeSpec) -> None:
    assert driver.room(spec) is None
    driver.start(spec)
    free, size = driver.room(spec) or (0, 0)
    assert 0 < free <= size


def test_starting_twice_is_starting_once(driver: Killable, spec: NodeSpec) -> None:
    driver.start(spec)
    driver.start(replace(spec, next_id=spec.next_id + 5))
    assert driver.alive(spec)


def test_a_stopped_node_keeps_its_folder(driver: Killable, spec: NodeSpec) -> None:
    driver.start(spec)
    driver.stop(spec)
    assert not driver.alive(spec)
    assert spec.folder.is_dir()


def test_a_removed_node_leaves_nothing(driver: Killable, spec: NodeSpec) -> None:
    driver.start(spec)
    driver.remove(spec)
    assert not driver.alive(spec)
    assert not spec.folder.exists()


def test_what_was_never_started_can_be_stopped_and_removed(driver: Killable, spec: NodeSpec) -> None:
    assert not driver.alive(spec)
    driver.stop(spec)
    driver.remove(spec)
    driver.remove(spec)


def test_a_killed_node_is_not_alive_and_starts_again(driver: Killable, spec: NodeSpec) -> None:
    driver.start(spec)
    driver.kill(spec)
    assert not driver.alive(spec)
    driver.start(spec)
    assert driver.alive(spec)


def test_a_taken_port_is_an_error_in_words(driver: Killable, spec: NodeSpec) -> None:
    driver.start(spec)
    other = replace(spec, name="n2", folder=spec.folder.with_name("n2"))
    with pytest.raises(NodeError, match=rf"n2 .*{spec.port}"):
        driver.start(other)
    driver.remove(other)


def test_a_running_node_gets_no_other_address(driver: Killable, spec: NodeSpec) -> None:
    driver.start(spec)
    with pytest.raises(NodeError, match="already runs"):
        driver.start(replace(spec, port=free_port()))
    assert driver.alive(spec)


def test_the_token_stays_the_same(driver: Killable, spec: NodeSpec) -> None:
    driver.start(spec)
    before = driver.token(spec)
    driver.stop(spec)
    driver.start(spec)
    assert driver.token(spec) == before
