"""The ledger: append-only, one entry per job, corrections and deposits as entries of their own.

An entry's key says what it is for, and a key is never written twice, so whatever is read again, swept twice or
imported once more changes nothing:

    job:UUID                 a printed job                correction:UUID:N        the Nth change to it
    import:SERVER:JOB:AT     a line of an old page_log    deposit:NAME             money paid in

Sums by day and by month are kept in the transaction that adds the entries. The controller and the command line both
write here, each in a transaction that waits for the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from itertools import islice
from typing import Any

from controller.store import Store

BATCH = 5_000
"""Entries written in one transaction."""
GROUPS = {"user": "user", "department": "department", "account": "account", "printer": "printer", "month": "period"}
"""What reports can be grouped by, and the column that has it."""
_SUMS = ("jobs", "pages", "sheets", "colour_pages", "amount")
_WHO = ("user", "department", "account", "printer")
_KEYS_AT_ONCE = 500


@dataclass(frozen=True)
class Entry:
    """amount: millionths of the currency; a deposit's is negative. day: YYYYMMDD by the site's clock."""

    key: str
    kind: str
    """`job`, `correction`, `import` or `deposit`."""
    at: int
    """Seconds since 1970: when it was printed or paid."""
    day: int
    user: str
    department: str = ""
    account: str = ""
    """The shared account that pays, '' when the user does."""
    printer: str = ""
    node: str = ""
    job: int = 0
    title: str = ""
    pages: int = 0
    sheets: int = 0
    colour_pages: int = 0
    amount: int = 0
    origin: str = ""
    """Where the page count comes from: `printer`, `counted`, `estimated` or `unknown`."""
    facts: str = ""
    """JSON of what it was priced by (controller.costs.charge), or a remark in words."""


_COLUMNS = tuple(field.name for field in fields(Entry))
_NAMED = ", ".join(f":{name}" for name in _COLUMNS)
_INSERT = f"insert into ledger ({', '.join(_COLUMNS)}, written) values ({_NAMED}, :written)"


@dataclass(frozen=True)
class Ledger:
    store: Store

    def write(self, entries: Iterable[Entry]) -> int:
        """Add those whose key is not there yet; returns how many. Call within `store.transaction()`."""
        new = self._new(list(entries))
        now = int(time.time())
        self.store.execute_many(_INSERT, [{**vars(entry), "written": now} for entry in new])
        for table, divisor in (("costs_by_day", 1), ("costs_by_month", 100)):
            self.store.execute_many(_upsert(table), _summed(new, divisor))
        return len(new)

    def write_many(self, entries: Iterable[Entry]) -> int:
        """As `write`, of any number, in transactions of its own."""
        waiting, written = iter(entries), 0
        while batch := list(islice(waiting, BATCH)):
            with self.store.transaction():
                written += self.write(batch)
        return written

    def entry(self, key: str) -> Entry | None:
        rows = self.store.rows("select * from ledger where key = ?", [key])
        return _entry(rows[0]) if rows else None

    def of_job(self, uuid: str) -> list[Entry]:
        """The entry of a job and all corrections to it."""
        rows = self.store.rows(
            "select * from ledger where key = ? or (key >= ? and key < ?) order by id",
            [f"job:{uuid}", f"correction:{uuid}:", f"correction:{uuid};"],
        )
        return [_entry(row) for row in rows]

    def sums(self, by: str, begin: date, end: date, names: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Sums from `begin` to before `end`, by one of GROUPS, the dearest first (months in their order).

        names: values that columns must have, such as {"user": "alice"}. Whole months come from the monthly sums, so
        that the answer does not grow with the number of jobs.
        """
        column = GROUPS[by]
        conditions = [f"{name} = :{name}" for name in names or {}]
        parts = []
        for table, divisor, first, last in _spans(begin, end):
            where = " and ".join([f"period >= {first} and period < {last}", *conditions])
            group = f"period / {100 // divisor}" if by == "month" else column  # 202611, from 20261122 or itself
            parts.append(f"select {group} as name, {', '.join(_SUMS)} from {table} where {where}")
        sums = ", ".join(f"sum({name}) as {name}" for name in _SUMS)
        order = "name" if by == "month" else "amount desc, pages desc, name"
        union = " union all ".join(parts) or f"select '' as name, {', '.join('0 as ' + name for name in _SUMS)} where 0"
        return self.store.rows(f"select name, {sums} from ({union}) group by name order by {order}", names or {})

    def entries(self, begin: date, end: date, names: Mapping[str, str] | None = None, limit: int = -1) -> list[Entry]:
        """The entries behind a sum, oldest first."""
        conditions = ["day >= :begin and day < :end", *(f"{name} = :{name}" for name in names or {})]
        values = {**(names or {}), "begin": number(begin), "end": number(end), "limit": limit}
        sql = f"select * from ledger where {' and '.join(conditions)} order by at, id limit :limit"
        return [_entry(row) for row in self.store.rows(sql, values)]

    def balance(self, name: str, shared: bool = False) -> int:
        """What is left of all that was paid in, in millionths; negative when more was printed than paid."""
        who = "account = :name" if shared else "user = :name and account = ''"
        sql = (
            f"select (select coalesce(sum(amount), 0) from costs_by_month where {who}) + "
            f"(select coalesce(sum(amount), 0) from ledger where kind = 'deposit' and {who}) as owed"
        )
        return -int(self.store.rows(sql, {"name": name})[0]["owed"])

    def deposit(self, key: str, name: str, amount: int, day: date, shared: bool = False, remark: str = "") -> bool:
        """Money paid in; False when this very deposit was written before. Call within a transaction."""
        user, account = ("", name) if shared else (name, "")
        entry = Entry(f"deposit:{key}", "deposit", int(time.time()), number(day), user, account=account, amount=-amount)
        return self.write([replace(entry, facts=remark)]) == 1

    def _new(self, entries: Sequence[Entry]) -> list[Entry]:
        known: set[str] = set()
        for at in range(0, len(entries), _KEYS_AT_ONCE):
            keys = [entry.key for entry in entries[at : at + _KEYS_AT_ONCE]]
            marks = ", ".join("?" * len(keys))
            known.update(row["key"] for row in self.store.rows(f"select key from ledger where key in ({marks})", keys))
        return list({entry.key: entry for entry in reversed(entries) if entry.key not in known}.values())[::-1]


def number(day: date) -> int:
    """20261122."""
    return day.year * 10_000 + day.month * 100 + day.day


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(**{name: row[name] for name in _COLUMNS})


def _upsert(table: str) -> str:
    columns = ("period", *_WHO, *_SUMS)
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
    return (
        f"insert into {table} ({', '.join(columns)}) values ({', '.join(':' + name for name in columns)}) "
        f"on conflict (period, {', '.join(_WHO)}) do update set {added}"
    )


def _summed(entries: Iterable[Entry], divisor: int) -> list[dict[str, Any]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for entry in entries:
        if entry.kind == "deposit":
            continue  # what was paid in is no cost
        place = (entry.day // divisor, entry.user, entry.department, entry.account, entry.printer)
        total = sums.setdefault(place, [0, 0, 0, 0, 0])
        jobs = entry.kind in ("job", "import")
        values = (jobs, entry.pages, entry.sheets, entry.colour_pages, entry.amount)
        for at, value in enumerate(values):
            total[at] += value
    names = ("period", *_WHO, *_SUMS)
    return [dict(zip(names, (*place, *total), strict=True)) for place, total in sums.items()]


def _spans(begin: date, end: date) -> Iterator[tuple[str, int, int, int]]:
    """(table, what a period is divided by, first period, the one after the last): whole months, and days around."""
    first = begin if begin.day == 1 else _next_month(begin)
    last = end.replace(day=1)
    if first >= last:
        if begin < end:
            yield "costs_by_day", 1, number(begin), number(end)
        return
    if begin < first:
        yield "costs_by_day", 1, number(begin), number(first)
    yield "costs_by_month", 100, number(first) // 100, number(last) // 100
    if last < end:
        yield "costs_by_day", 1, number(last), number(end)


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
