"""What is remembered: one SQLite database, one writer at a time.

The controller writes nodes, slots, events and decisions; the dashboard and the command line only write commands.
Every write is one transaction begun with the write lock, so that two writers wait for each other instead of failing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlite_utils import Database

from controller.migrations import migrations
from controller.plan import Answer, Plan
from controller.snapshot import Command, Goal, Node, NodeState, Snapshot
from haproxy.model import SLOT_IDS, first_id

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another writer."""
SLOT_RESERVE = 100_000
"""Ids that must be left in a slot's range before it is given to another node."""

_SNAPSHOT = TypeAdapter(Snapshot)
_PLAN = TypeAdapter(Plan)


class StoreError(Exception):
    """The database can't be read or written; the message says where and why."""


class Store:
    """The database of one state folder. An instance is used by one thread at a time."""

    def __init__(self, path: Path, create: bool = False) -> None:
        """Open the database; `create` makes or migrates it. Raises StoreError."""
        if not create and not path.is_file():
            raise StoreError(f"there is no fleet in {path.parent}; start one with: cupsfleet up --state {path.parent}")
        try:
            if create and not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            # The daemon opens it in one thread and runs passes in another, never in both at once.
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            self._db = Database(connection)
            if create:
                migrations.apply(self._db)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: the database can't be opened: {error}") from None

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises StoreError when the database is locked for too long or the disk is full."""
        try:
            self._db.conn.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.conn.execute("COMMIT")
            except BaseException:
                if self._db.conn.in_transaction:
                    self._db.conn.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"the database can't be written: {error}") from None

    # Nodes and slots

    def nodes(self) -> tuple[Node, ...]:
        """Those of the fleet, in the order of their slots; the retired ones are history."""
        rows = self._db.query("select * from nodes where state != 'retired' order by slot")
        return tuple(Node(**{**row, "state": NodeState(row["state"]), "goal": Goal(row["goal"])}) for row in rows)

    def put_node(self, node: Node) -> None:
        self._db["nodes"].upsert({**asdict(node), "since": node.since or time.time()}, pk="name")

    def retire_node(self, node: Node, reason: str) -> None:
        """The node is history from now on, its slot is free, the ids it gave out stay used."""
        now = time.time()
        self.put_node(replace(node, state=NodeState.RETIRED, since=now, reason=reason))
        self._db.execute("update slots set released_at = ? where slot = ?", [now, node.slot])

    def next_name(self) -> int:
        """Number of the next node's name: names are never used again."""
        row = self._db.conn.execute("select max(cast(substr(name, 6) as integer)) from nodes").fetchone()
        return int(row[0] or 0) + 1

    def address_rests(self, host: str, port: int, quarantine: float) -> bool:
        """Whether this address was some node's less than `quarantine` seconds ago, or still is."""
        rows = self._db.query("select state, since from nodes where host = ? and port = ?", [host, port])
        return any(row["state"] != "retired" or time.time() - row["since"] < quarantine for row in rows)

    def free_slots(self, count: int) -> tuple[int, ...]:
        """Of the slots 1…count those without a node and with ids left, the longest unused first."""
        taken = {node.slot for node in self.nodes()}
        rows = {row["slot"]: row for row in self._db.query("select * from slots")}

        def has_room(slot: int) -> bool:
            return slot not in rows or rows[slot]["highest_id"] < (slot + 1) * SLOT_IDS - SLOT_RESERVE

        def rested(slot: int) -> tuple[float, int]:
            return (rows[slot]["released_at"] or 0.0) if slot in rows else 0.0, slot

        return tuple(sorted((s for s in range(1, count + 1) if s not in taken and has_room(s)), key=rested))

    def next_id(self, slot: int) -> int:
        """The first id that was certainly never given out in this slot."""
        row = self._db.conn.execute("select highest_id from slots where slot = ?", [slot]).fetchone()
        return max(first_id(slot), int(row[0]) + 1 if row else 0)

    def saw_id(self, slot: int, highest: int) -> None:
        """Remember that ids up to this one were given out."""
        self._db.execute(
            "insert into slots (slot, highest_id, released_at) values (?, ?, 0) "
            "on conflict (slot) do update set highest_id = max(highest_id, excluded.highest_id)",
            [slot, highest],
        )

    # Commands

    def ask(self, verb: str, argument: str, asked_by: str) -> int:
        """Write down what an administrator wants; the controller carries it out. Returns the command's id."""
        with self.transaction():
            row = {"verb": verb, "argument": argument, "asked_by": asked_by, "asked_at": time.time()}
            self._db["commands"].insert({**row, "state": "asked", "node": "", "outcome": "", "answered_at": None})
            return int(self._db.conn.execute("select last_insert_rowid()").fetchone()[0])

    def open_commands(self) -> tuple[Command, ...]:
        rows = self._db.query("select * from commands where state in ('asked', 'running') order by id")
        now = time.time()
        fields = ("id", "verb", "argument", "asked_by", "state", "node")
        return tuple(Command(**{name: row[name] for name in fields}, age=now - row["asked_at"]) for row in rows)

    def command(self, number: int) -> dict[str, Any]:
        return dict(self._db["commands"].get(number))

    def commands(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest first."""
        return list(self._db.query("select * from commands order by id desc limit ?", [limit]))

    def answer(self, answer: Answer) -> None:
        fields = {"state": answer.state, "outcome": answer.outcome, "answered_at": time.time()}
        if answer.node:
            fields["node"] = answer.node
        self._db["commands"].update(answer.command, fields)

    # History

    def event(self, kind: str, text: str, node: str = "") -> None:
        self._db["events"].insert({"at": time.time(), "kind": kind, "node": node, "text": text})

    def events(self, limit: int = 50, node: str = "") -> list[dict[str, Any]]:
        """The newest first."""
        where, values = ("where node = ?", [node]) if node else ("", [])
        return list(self._db.query(f"select * from events {where} order by id desc limit ?", [*values, limit]))

    def record(self, snapshot: Snapshot, plan: Plan) -> None:
        """Keep a pass that decided something, so that it can be explained and replayed."""
        row = {"at": time.time(), "sentence": plan.sentence()}
        encoded = {"snapshot": _SNAPSHOT.dump_json(snapshot).decode(), "plan": _PLAN.dump_json(plan).decode()}
        self._db["passes"].insert({**row, **encoded})

    def passes(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest first."""
        return list(self._db.query("select * from passes order by id desc limit ?", [limit]))

    def forget(self, older_than: float) -> None:
        """Delete history older than so many seconds."""
        limit = time.time() - older_than
        self._db.execute("delete from events where at < ?", [limit])
        self._db.execute("delete from passes where at < ?", [limit])
        self._db.execute("delete from commands where answered_at < ?", [limit])

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, so that it does not grow for ever."""
        self._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # Facts

    def fact(self, name: str) -> Any:
        """A remembered value, or None."""
        row = self._db.conn.execute("select value from facts where name = ?", [name]).fetchone()
        return json.loads(row[0]) if row else None

    def put_fact(self, name: str, value: Any) -> None:
        self._db["facts"].upsert({"name": name, "value": json.dumps(value)}, pk="name")
