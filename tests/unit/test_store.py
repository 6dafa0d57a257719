"""What is remembered, across restarts and beside other writers."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from sqlite_utils import Database

from controller import store as store_module
from controller.costs.ledger import Ledger
from controller.decide import decide
from controller.migrations import migrations
from controller.plan import Answer
from controller.snapshot import SLOT_RESERVE, Node, NodeState
from controller.store import Store, StoreError, recorded_snapshot
from haproxy.model import SLOT_IDS
from tests.builders import command, settings, sight, snapshot

NODE = Node("node-1", 1, "process", "127.0.0.1", 6001, reason="nodes.min is 2")


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "cupsfleet.db", create=True)
    yield store
    store.close()


def reopen(store: Store) -> Store:
    path = store._db.conn.execute("pragma database_list").fetchone()[2]
    return Store(Path(path))


def test_the_database_is_its_owners_alone(store: Store, tmp_path: Path) -> None:
    assert os.stat(tmp_path / "cupsfleet.db").st_mode & 0o077 == 0


def test_no_fleet_is_said_with_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no fleet in .*cupsfleet up --state"):
        Store(tmp_path / "cupsfleet.db")


def test_a_node_is_remembered_as_it_was(store: Store) -> None:
    with store.transaction():
        store.put_node(replace(NODE, state=NodeState.READY, since=5.0, deaths=2))
    other = reopen(store)
    assert other.nodes() == (replace(NODE, state=NodeState.READY, since=5.0, deaths=2),)
    other.close()


def test_names_are_never_used_again(store: Store) -> None:
    with store.transaction():
        store.put_node(replace(NODE, name="node-10"))
        store.retire_node(replace(NODE, name="node-10"), "it has no open job")
    assert store.nodes() == ()
    assert store.next_name() == 11


def test_ids_that_were_seen_are_never_given_out_again(store: Store) -> None:
    assert store.next_id(3) == 3_000_001
    with store.transaction():
        store.saw_id(3, 3_000_500)
        store.saw_id(3, 3_000_400)
    assert store.next_id(3) == 3_000_501


def test_free_slots_leave_out_taken_and_nearly_used_up_ones(store: Store) -> None:
    with store.transaction():
        store.put_node(NODE)
        store.saw_id(2, 3 * SLOT_IDS - SLOT_RESERVE)
        store.saw_id(3, 3_000_001)
        store.retire_node(replace(NODE, name="node-3", slot=3), "gone")
    assert store.free_slots(5) == (4, 5, 6, 3)  # one more than five, for the one that is used up


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_jump_of_the_wall_clock_ends_no_quarantine(
    store: Store, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    with store.transaction():
        store.put_node(NODE)
        store.retire_node(NODE, "retired")
    now, waited = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    assert store.address_rests("127.0.0.1", 6001, quarantine=3600)
    monkeypatch.setattr(time, "monotonic", lambda: waited + 3601.0)
    assert not store.address_rests("127.0.0.1", 6001, quarantine=3600)


def test_after_a_boot_an_address_rests_by_the_wall_clock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.transaction():
        store.put_node(NODE)
        store.retire_node(NODE, "retired")
    monkeypatch.setattr(store_module, "boot_id", lambda: "the next one")
    assert store.address_rests("127.0.0.1", 6001, quarantine=60)
    assert not store.address_rests("127.0.0.1", 6001, quarantine=0)


def test_an_address_rests_after_its_node_left(store: Store) -> None:
    with store.transaction():
        store.put_node(NODE)
        store.retire_node(NODE, "gone")
    assert store.address_rests("127.0.0.1", 6001, quarantine=60)
    assert not store.address_rests("127.0.0.1", 6001, quarantine=0)
    assert not store.address_rests("127.0.0.1", 6002, quarantine=60)


def test_a_command_goes_from_asked_to_done(store: Store) -> None:
    number = store.ask("retire", "node-1", "admin")
    (asked,) = store.open_commands()
    assert (asked.verb, asked.argument, asked.asked_by, asked.state) == ("retire", "node-1", "admin", "asked")
    with store.transaction():
        store.answer(Answer(number, "running", "begun", "node-1"))
    assert store.open_commands()[0].node == "node-1"
    with store.transaction():
        store.answer(Answer(number, "done", "node-1 has left"))
    assert store.open_commands() == ()
    assert store.command(number)["outcome"] == "node-1 has left"


def test_a_command_that_was_withdrawn_is_not_taken_up_any_more(store: Store) -> None:
    number = store.ask("add", "", "admin")
    assert store.withdraw(number, "nobody took it up")
    assert store.open_commands() == ()

    def take_up() -> None:
        with store.transaction():
            store.put_node(NODE)
            store.answer(Answer(number, "running", "node-1 is ordered", "node-1"))

    with pytest.raises(StoreError, match="was withdrawn"):
        take_up()
    assert store.nodes() == ()
    assert store.command(number)["state"] == "refused"


def test_a_command_that_is_under_way_is_not_withdrawn(store: Store) -> None:
    number = store.ask("add", "", "admin")
    with store.transaction():
        store.answer(Answer(number, "running", "node-1 is ordered", "node-1"))
    assert not store.withdraw(number, "too late")
    assert store.command(number)["outcome"] == "node-1 is ordered"


def test_a_recorded_pass_can_be_replayed(store: Store) -> None:
    silent = sight(1, alive=False, error="refused")
    seen = snapshot(silent, sight(2, jobs=3), sight(3, reading=None), commands=(command("add"),))
    plan = decide(seen, settings())
    with store.transaction():
        store.record(seen, plan)
    (row,) = store.passes()
    again = recorded_snapshot(row["snapshot"])
    assert decide(again, settings()) == plan
    assert json.loads(row["plan"])["steps"][-1]["deaths"] == 1
    assert [one.open_jobs for one in again.nodes] == [None, 3, None]
    assert again.nodes[0] == silent


def test_a_recorded_pass_tells_nobodys_jobs(store: Store) -> None:
    seen = snapshot(sight(1, jobs=3))
    with store.transaction():
        store.record(seen, decide(seen, settings()))
    (row,) = store.passes()
    assert "demo" not in row["snapshot"]
    assert "urn:uuid" not in row["snapshot"]


def test_recorded_passes_have_a_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PASSES_KEPT", 3)
    with store.transaction():
        for _ in range(5):
            store.record(snapshot(), decide(snapshot(), settings()))
        store.forget(older_than=3600)
    assert [row["id"] for row in store.passes()] == [5, 4, 3]


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cupsfleet.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"cupsfleet.db: the database can't be opened: file is not a database"):
        Store(path)


def test_a_database_without_its_tables_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cupsfleet.db"
    path.touch()
    with pytest.raises(StoreError, match="has not the shape that this version needs"):
        Store(path)


def test_a_change_of_shape_that_is_interrupted_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cupsfleet.db"
    monkeypatch.setattr("controller.store.MIGRATION_STEPS", 100)
    with closing(sqlite3.connect(path)) as connection:
        migrations.apply(Database(connection), stop_before="m006_summaries")
        who = "'u' as user, '' as department, '' as account, 'p' as printer, 1 as jobs, 1 as pages, 1 as sheets, 0, 5"
        days = "with recursive days(day) as (select 20260101 union all select day + 1 from days limit 500)"
        connection.execute(f"{days} insert into costs_by_day select day, {who} from days")
        connection.commit()
    calls = []

    def told() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(StoreError, match="interrupted"):
        Store(path, create=True, migrating=told)
    with pytest.raises(StoreError, match="has not the shape"):
        Store(path)
    with Store(path, create=True, migrating=told) as store:
        assert Ledger(store).total(date(2026, 1, 1), date(2027, 1, 1))["pages"] == 500
    assert len(calls) > 3


def test_a_database_that_breaks_later_is_a_sentence(store: Store) -> None:
    store._db.conn.execute("drop table facts")
    with pytest.raises(StoreError, match="can't be read: no such table"):
        store.fact("sight")
    store._db.conn.execute("update nodes set state = 'unheard of'")
    with store.transaction():
        store.put_node(NODE)
        store._db.conn.execute("update nodes set state = 'unheard of'")
    with pytest.raises(StoreError, match="can't be understood"):
        store.nodes()


def test_an_error_inside_a_transaction_changes_nothing(store: Store) -> None:
    def fail() -> None:
        with store.transaction():
            store.put_node(NODE)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.nodes() == ()


def test_two_writers_wait_for_each_other(store: Store, tmp_path: Path) -> None:
    def write(who: str) -> None:
        own = Store(tmp_path / "cupsfleet.db")
        for number in range(30):
            own.ask("add", str(number), who)
        own.close()

    threads = [threading.Thread(target=write, args=(who,)) for who in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.open_commands()) == 60


def test_a_lock_that_stays_is_a_sentence(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store._db.conn.execute("pragma busy_timeout=50")
    blocker = sqlite3.connect(tmp_path / "cupsfleet.db", isolation_level=None)
    blocker.execute("begin immediate")
    with pytest.raises(StoreError, match="database is locked"), store.transaction():
        store.put_node(NODE)
    blocker.close()


def test_old_history_is_forgotten_and_open_commands_are_not(store: Store) -> None:
    store.ask("add", "", "admin")
    with store.transaction():
        store.event("proxy", "reloaded")
        store.record(snapshot(), decide(snapshot(), settings()))
        store.forget(older_than=-1)
    assert store.events() == []
    assert store.passes() == []
    assert len(store.open_commands()) == 1
