"""Who may do what to a job. No node is asked here: whatever is refused is refused before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from controller.jobs import remote
from controller.jobs.custody import Custody
from controller.jobs.desk import Desk
from controller.jobs.moves import MoveTable
from controller.jobs.remote import Standing
from controller.jobs.table import Job, JobTable
from controller.snapshot import Node, NodeState
from controller.store import Store
from probes.sweep import Target
from tests.process.fleet import free_port

JOB = Job("urn:uuid:a", 1_000_001, "node-1", "office", "Alice", "t", "held", created=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db", create=True) as made:
        with made.transaction():
            JobTable(made).put([JOB, replace(JOB, uuid="urn:uuid:e", id=1_000_002, state="completed")])
        yield made


def nobody(*_: object) -> NoReturn:
    raise AssertionError("no node may be asked")


def desk(store: Store, target=nobody) -> Desk:
    custody = Custody.of(lambda: Store(store.path), target, nobody)
    return Desk(lambda: Store(store.path), custody.mover, lambda: {"admin"})


def outcome(store: Store, verb: str, uuid: str, who: str, channel: str = "door") -> tuple[str, str]:
    number = store.ask(verb, uuid, who, channel)
    desk(store).work()
    row = store.command(number)
    return row["state"], row["outcome"]


@pytest.mark.parametrize("verb", ["cancel-job", "hold-job", "release-job"])
@pytest.mark.parametrize("uuid", [JOB.uuid, "urn:uuid:e", "urn:uuid:unknown", ""])
def test_others_jobs_are_no_different_from_none(store: Store, verb: str, uuid: str) -> None:
    assert outcome(store, verb, uuid, "bob") == ("refused", "bob has no such job")
    assert [row["text"] for row in store.events(1)] == ["command 1 refused: bob has no such job"]


@pytest.mark.parametrize(
    ("verb", "uuid", "who", "why"),
    [
        ("move-job", JOB.uuid, "Alice", "Alice is no administrator, and only those move jobs"),
        ("cancel-job", "urn:uuid:e", "alice", "job 1000002 is completed already"),
        ("cancel-job", "urn:uuid:x", "admin", "there is no job urn:uuid:x"),
        ("print-job", JOB.uuid, "admin", "'print-job' is no command for a job; allowed are cancel-job"),
        ("cancel-job", JOB.uuid, "alice", "node-1, which had job 1000001, has left the fleet"),
        ("cancel-job", JOB.uuid, "admin", "node-1, which had job 1000001, has left the fleet"),
    ],
)
def test_each_refusal_is_one_sentence(store: Store, verb: str, uuid: str, who: str, why: str) -> None:
    state, said = outcome(store, verb, uuid, who)
    assert state == "refused"
    assert said.startswith(why)


def test_who_may_write_the_database_may_do_anything(store: Store) -> None:
    assert outcome(store, "cancel-job", JOB.uuid, "bob", "shell")[1].startswith("node-1, which had job")


def test_nothing_is_done_while_a_job_is_moved(store: Store) -> None:
    with store.transaction():
        MoveTable(store).order(JOB, "a test")
    assert outcome(store, "cancel-job", JOB.uuid, "alice") == ("asked", "")
    with store.transaction():
        store.execute("update commands set asked_at = asked_at - 61")
    desk(store).work()
    assert "waited 61 s" in store.command(1)["outcome"]


def test_a_node_that_does_not_answer_is_asked_again_until_it_is_too_late(store: Store) -> None:
    port = free_port()
    with store.transaction():
        store.put_node(Node("node-1", 1, "process", "127.0.0.1", port, NodeState.DEAD))
    made = desk(store, lambda node, _: Target(node.name, node.host, node.port, "root"))
    store.ask("cancel-job", JOB.uuid, "alice")
    made.work()
    row = store.command(1)
    assert row["state"] == "running"
    assert "Connection refused; it is tried again" in row["outcome"]
    made.work()
    assert store.command(1) == row
    with store.transaction():
        store.execute("update commands set asked_at = asked_at - 61")
    made.work()
    assert store.command(1)["state"] == "failed"


def test_commands_about_jobs_and_about_nodes_are_kept_apart(store: Store) -> None:
    store.ask("retire", "node-1", "admin")
    store.ask("cancel-job", JOB.uuid, "bob")
    assert [command.verb for command in store.open_commands(of_jobs=False)] == ["retire"]
    desk(store).work()
    assert [command.verb for command in store.open_commands()] == ["retire"]


def test_a_job_that_a_filter_stopped_is_held_first_for_cupsd_releases_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Standing(JOB.id, JOB.uuid, "stopped", "Alice", "no-hold", 1, incoming=False, size_kb=1)
    states = [found.state]

    def told(state: str) -> Callable[..., None]:
        return lambda *_: states.append(state)

    monkeypatch.setattr(remote, "standing", lambda *_: replace(found, state=states[-1]))
    monkeypatch.setattr(remote, "hold", told("held"))
    monkeypatch.setattr(remote, "free", told("pending"))
    with store.transaction():
        store.put_node(Node("node-1", 1, "process", "127.0.0.1", free_port(), NodeState.READY))
    store.ask("release-job", JOB.uuid, "alice")
    desk(store, lambda node, _: Target(node.name, node.host, node.port, "root")).work()
    assert store.command(1)["outcome"] == f"job {JOB.id} is pending"
    assert states == ["stopped", "held", "pending"]
