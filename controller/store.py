"""What is remembered: one SQLite database, one writer at a time.

The controller writes nodes, slots, events and decisions; the dashboard and the command line only write commands.
Every write is one transaction begun with the write lock, so that two writers wait for each other instead of failing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import TypeAdapter

from controller.migrations import migrations
from controller.plan import Answer, Plan
from controller.snapshot import SLOT_RESERVE, Cause, Command, Goal, Node, NodeState, Snapshot
from controller.tables import Database
from haproxy.model import LAST_SLOT, SLOT_IDS, first_id
from machine.identity import boot_id
from probes.reading import OpenJob

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another writer."""
LOOK_TIMEOUT = 0.2
"""The same for somebody who only wants to know whether one would have to wait."""
PASSES_KEPT = 10_000
"""Recorded passes that are kept at most, whatever their age: each holds a snapshot of the whole fleet."""

MIGRATION_STEPS = 1_000_000
"""Instructions of SQLite's machine between two calls while the shape is changed; some ten milliseconds."""

_SNAPSHOT = TypeAdapter(Snapshot)
_PLAN = TypeAdapter(Plan)
_SOME_JOB = OpenJob(0, "", "", "", 0, 0, 0, ())
"""Stands in a recorded reading for each open job: decisions count them, and history need not know whose they were."""


class StoreError(Exception):
    """The database can't be read or written; the message says where and why."""


class Store:
    """The database of one state folder. An instance is used by one thread at a time."""

    def __init__(self, path: Path, create: bool = False, migrating: Callable[[], None] | None = None) -> None:
        """Open the database; `create` makes it, or brings one of an older version into this one's shape.

        migrating: called again and again while that takes long. When it raises, or the process ends, the database is
        as it was before the step that was under way. Raises StoreError.
        """
        self.path, self._migrating = path, migrating
        if not create and not path.is_file():
            raise StoreError(f"there is no fleet in {path.parent}; start one with: cupsfleet up --state {path.parent}")
        self._open(create)

    def _open(self, create: bool) -> None:
        with self._errors("opened"):
            if create and not self.path.exists():
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
            # The daemon opens it in one thread and runs passes in another, never in both at once.
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            try:
                self._db = _prepared(connection, create, self._migrating)
                self._file = _identity(self.path)
            except BaseException:
                connection.close()
                raise

    def stands(self) -> bool:
        """Whether the file is there. One that was deleted can still be written again from what is open here.

        Raises StoreError when another file took its place.
        """
        try:
            found = _identity(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"{self.path}: the database can't be found: {error}") from None
        if found != self._file:
            raise StoreError(
                f"{self.path} was replaced by another file while the controller runs; to use that one: "
                f"cupsfleet down, then cupsfleet up, with --state {self.path.parent}"
            )
        return True

    def write_again(self) -> None:
        """Put the database back where it was deleted, with all it held. Raises StoreError."""
        candidate = self.path.with_name(self.path.name + ".again")
        with self._errors("written again"):
            candidate.unlink(missing_ok=True)
            os.close(os.open(candidate, os.O_CREAT | os.O_WRONLY, 0o600))
            with closing(sqlite3.connect(candidate)) as copy:
                self._db.conn.backup(copy)
            self.close()
            for left in ("-wal", "-shm"):  # those of the deleted file would be taken for the new one's
                self.path.with_name(self.path.name + left).unlink(missing_ok=True)
            os.replace(candidate, self.path)
        self._open(create=False)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Whatever SQLite or the file system says becomes one sentence."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self.path}: the database can't be {what}: {error}") from None
        except (ValueError, TypeError) as error:  # rows that this version can't read
            raise StoreError(f"{self.path}: the database holds what can't be understood: {error}") from None

    def rows(self, sql: str, values: Iterable[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """The answer to a query. Raises StoreError."""
        with self._errors("read"):
            return list(self._db.query(sql, values if isinstance(values, Mapping) else list(values)))

    def execute(self, sql: str, values: Iterable[Any] | Mapping[str, Any] = ()) -> int:
        """Change rows, within `transaction`; returns how many. Raises StoreError."""
        with self._writing():
            named = values if isinstance(values, Mapping) else list(values)
            return int(self._db.conn.execute(sql, named).rowcount)

    def execute_many(self, sql: str, rows: Iterable[Mapping[str, Any] | Sequence[Any]]) -> None:
        """The same change for each row of values, named or in their order. Raises StoreError."""
        with self._writing():
            self._db.conn.executemany(sql, rows)

    def _value(self, sql: str, values: Iterable[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = self.rows(sql, values)
        return next(iter(rows[0].values())) if rows else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises StoreError when the database is locked for too long or the disk is full."""
        with self._writing():
            self._db.conn.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.conn.execute("COMMIT")
            except BaseException:
                if self._db.conn.in_transaction:
                    self._db.conn.execute("ROLLBACK")
                raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: the database can't be written: {error}") from None

    def trouble(self) -> str:
        """Why nothing can be written at the moment, as a sentence; '' when it can. Changes nothing."""
        try:
            self._db.conn.execute(f"PRAGMA busy_timeout={int(LOOK_TIMEOUT * 1000)}")
            self._db.conn.execute("BEGIN IMMEDIATE")
            self._db.conn.execute("ROLLBACK")
        except sqlite3.Error as error:
            return f"{self.path} can't be written: {error}; `fuser {self.path}` shows which programs have it open"
        finally:
            self._db.conn.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT * 1000)}")
        return ""

    # Nodes and slots

    def nodes(self) -> tuple[Node, ...]:
        """Those of the fleet, in the order of their slots; the retired ones are history."""
        rows = self.rows("select * from nodes where state != 'retired' order by slot")
        with self._errors("read"):
            return tuple(_node(row) for row in rows)

    def put_node(self, node: Node) -> None:
        self._db["nodes"].upsert({**asdict(node), "since": node.since or time.time()}, pk="name")

    def retire_node(self, node: Node, reason: str) -> None:
        """The node is history from now on, its slot is free, the ids it gave out stay used."""
        now = time.time()
        self.put_node(replace(node, state=NodeState.RETIRED, since=now, reason=reason))
        self._db.execute("update slots set released_at = ? where slot = ?", [now, node.slot])
        rests = {"host": node.host, "port": node.port, "boot": boot_id(), "at": time.monotonic()}
        self._db["rests"].upsert(rests, pk=("host", "port"))

    def next_name(self) -> int:
        """Number of the next node's name: names are never used again."""
        return int(self._value("select max(cast(substr(name, 6) as integer)) from nodes") or 0) + 1

    def address_rests(self, host: str, port: int, quarantine: float) -> bool:
        """Whether this address was some node's less than `quarantine` seconds ago, or still is. Within one boot of this
        machine no change of the wall clock shortens that; an earlier one's is all there is to go by after it."""
        where = "where host = ? and port = ?"
        rows = self.rows(f"select state, since from nodes {where}", [host, port])
        if any(row["state"] != "retired" for row in rows):
            return True
        if left := self.rows(f"select at from rests {where} and boot = ?", [host, port, boot_id()]):
            return bool(time.monotonic() - left[0]["at"] < quarantine)
        return any(time.time() - row["since"] < quarantine for row in rows)

    def free_slots(self, count: int) -> tuple[int, ...]:
        """Of the slots 1…count those without a node and with ids left, the longest unused first. For each slot whose
        ids are used up there is another one beyond."""
        taken = {node.slot for node in self.nodes()}
        rows = {row["slot"]: row for row in self.rows("select * from slots")}

        def has_room(slot: int) -> bool:
            return slot not in rows or rows[slot]["highest_id"] < (slot + 1) * SLOT_IDS - SLOT_RESERVE

        def rested(slot: int) -> tuple[float, int]:
            return (rows[slot]["released_at"] or 0.0) if slot in rows else 0.0, slot

        used_up = sum(not has_room(slot) for slot in rows)
        slots = range(1, min(count + used_up, LAST_SLOT) + 1)
        return tuple(sorted((slot for slot in slots if slot not in taken and has_room(slot)), key=rested))

    def next_id(self, slot: int) -> int:
        """The first id that was certainly never given out in this slot."""
        highest = self._value("select highest_id from slots where slot = ?", [slot])
        return max(first_id(slot), int(highest or 0) + 1)

    def saw_id(self, slot: int, highest: int) -> None:
        """Remember that ids up to this one were given out."""
        self._db.execute(
            "insert into slots (slot, highest_id, released_at) values (?, ?, 0) "
            "on conflict (slot) do update set highest_id = max(highest_id, excluded.highest_id)",
            [slot, highest],
        )

    # Commands

    def ask(self, verb: str, argument: str, asked_by: str, channel: str = "door") -> int:
        """Write down what somebody wants; the controller judges it and carries it out. Returns the command's id.

        channel: `door` for a name that logged in there, which must be an administrator's for all but one's own jobs;
        `shell` for somebody on this machine who may write the database anyway.
        """
        with self.transaction():
            row = {"verb": verb, "argument": argument, "asked_by": asked_by, "asked_at": time.time()}
            row["channel"] = channel
            self._db["commands"].insert({**row, "state": "asked", "node": "", "outcome": "", "answered_at": None})
            return int(self._db.conn.execute("select last_insert_rowid()").fetchone()[0])

    def open_commands(self, of_jobs: bool | None = None) -> tuple[Command, ...]:
        """Those that are asked or running, in their order. of_jobs: only those about a single job, or only others."""
        which = {None: "", True: "and verb like '%-job'", False: "and verb not like '%-job'"}[of_jobs]
        rows = self.rows(f"select * from commands where state in ('asked', 'running') {which} order by id")
        now = time.time()
        fields = ("id", "verb", "argument", "asked_by", "state", "node", "channel")
        return tuple(Command(**{name: row[name] for name in fields}, age=now - row["asked_at"]) for row in rows)

    def command(self, number: int) -> dict[str, Any]:
        """Raises StoreError when there is none of this number (or none any more)."""
        rows = self.rows("select * from commands where id = ?", [number])
        if not rows:
            raise StoreError(f"{self.path}: there is no command {number}")
        return rows[0]

    def commands(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest first."""
        return self.rows("select * from commands order by id desc limit ?", [limit])

    def answer(self, answer: Answer) -> None:
        """Raises StoreError when the command was withdrawn meanwhile: what goes with it must not be done either."""
        cursor = self._db.execute(
            "update commands set state = ?, outcome = ?, answered_at = ?, node = coalesce(nullif(?, ''), node) "
            "where id = ? and state in ('asked', 'running')",
            [answer.state, answer.outcome, time.time(), answer.node, answer.command],
        )
        if not cursor.rowcount:
            raise StoreError(f"command {answer.command} was withdrawn while it was taken up")

    def withdraw(self, number: int, why: str) -> bool:
        """Refuse a command that the controller has not taken up; False when it has."""
        with self.transaction():
            cursor = self._db.execute(
                "update commands set state = 'refused', outcome = ?, answered_at = ? where id = ? and state = 'asked'",
                [why, time.time(), number],
            )
            return bool(cursor.rowcount)

    # History

    def event(self, kind: str, text: str, node: str = "") -> None:
        with self._writing():
            self._db["events"].insert({"at": time.time(), "kind": kind, "node": node, "text": text})

    def events(self, limit: int = 50, node: str = "") -> list[dict[str, Any]]:
        """The newest first."""
        where, values = ("where node = ?", [node]) if node else ("", [])
        return self.rows(f"select * from events {where} order by id desc limit ?", [*values, limit])

    def record(self, snapshot: Snapshot, plan: Plan) -> None:
        """Keep a pass that decided something, so that it can be explained and replayed."""
        row = {"at": time.time(), "sentence": plan.sentence()}
        encoded = {"snapshot": _encoded(snapshot), "plan": _PLAN.dump_json(plan, serialize_as_any=True).decode()}
        self._db["passes"].insert({**row, **encoded})

    def passes(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest first."""
        return self.rows("select * from passes order by id desc limit ?", [limit])

    def forget(self, older_than: float) -> None:
        """Delete history older than so many seconds, and passes beyond the newest PASSES_KEPT."""
        limit = time.time() - older_than
        self._db.execute("delete from events where at < ?", [limit])
        self._db.execute("delete from passes where at < ?", [limit])
        self._db.execute("delete from scalings where at < ?", [limit])
        self._db.execute("delete from passes where id <= (select max(id) from passes) - ?", [PASSES_KEPT])
        self._db.execute("delete from commands where answered_at < ?", [limit])

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, so that it does not grow for ever."""
        with self._writing():
            self._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # Facts

    def fact(self, name: str) -> Any:
        """A remembered value, or None."""
        text = self.fact_text(name)
        with self._errors("read"):
            return None if text is None else json.loads(text)

    def fact_text(self, name: str) -> str | None:
        """The same as it is written down, in JSON: to compare it costs less than to read it."""
        text: str | None = self._value("select value from facts where name = ?", [name])
        return text

    def put_fact(self, name: str, value: Any) -> None:
        with self._writing():
            self._db["facts"].upsert({"name": name, "value": json.dumps(value)}, pk="name")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _prepared(connection: sqlite3.Connection, create: bool, migrating: Callable[[], None] | None) -> Database:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")
    database = Database(connection)
    if create:
        pending = migrations.pending(database)
        connection.set_progress_handler(migrating, MIGRATION_STEPS)
        migrations.apply(database)
        connection.set_progress_handler(None, 0)
        if pending:  # what was written may be gigabytes, and every reader would look for its pages in the log
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    elif migrations.pending(database):
        raise sqlite3.DatabaseError(
            "it has not the shape that this version needs; `cupsfleet up` brings it there, which may take minutes"
        )
    return database


def _node(row: dict[str, Any]) -> Node:
    words = {"state": NodeState(row["state"]), "goal": Goal(row["goal"]), "goal_by": Cause(row["goal_by"])}
    return Node(**{**row, **words})


def _encoded(snapshot: Snapshot) -> str:
    """JSON, with what no decision reads left out: of the jobs all but their states."""
    value = _SNAPSHOT.dump_python(snapshot, mode="json")
    for sight in value["nodes"]:
        if reading := sight["reading"]:
            reading["jobs"] = [job["state"] for job in reading["jobs"]]
    return json.dumps(value, separators=(",", ":"))


def recorded_snapshot(text: str) -> Snapshot:
    """What a recorded pass saw, from its row's `snapshot`: `decide` makes the same plan of it. Raises StoreError."""
    try:
        value = json.loads(text)
        for sight in value["nodes"]:
            if reading := sight["reading"]:
                reading["jobs"] = [replace(_SOME_JOB, state=state) for state in reading["jobs"]]
        return _SNAPSHOT.validate_python(value)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"this recorded pass is of another version: {error}") from None
