"""The ledger: append-only, one entry per job; corrections, refunds and deposits are entries of their own.

An entry's key says what it is for, and a key is never written twice, so whatever is read again, swept twice or
imported once more changes nothing:

    job:UUID                        a printed job               correction:UUID:N   the Nth change to it
    import:SERVER:PRINTER:JOB:AT    a job of an old page_log    refund:KEY:N        the Nth time that an administrator
    deposit:NAME                    money paid in                                   gave something of it back

Sums (sums.py) are kept in the transaction that adds the entries. The controller and the command line both write here,
each in a transaction that waits for the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from itertools import islice
from operator import attrgetter
from typing import Any

from controller.costs.sums import ADDING, QUARTER, SUMS, number, query
from controller.store import Store

BATCH = 5_000
"""Entries written in one transaction."""
DEPOSIT = "deposit"
_KEYS_AT_ONCE = 500


@dataclass(frozen=True)
class Entry:
    """amount: millionths of the currency; a deposit's is negative. day: YYYYMMDD by the site's clock."""

    key: str
    kind: str
    """`job`, `correction`, `refund`, `import` or `deposit`."""
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
_values = attrgetter(*_COLUMNS)
_INSERT = f"insert into ledger ({', '.join(_COLUMNS)}, written) values ({', '.join('?' * (len(_COLUMNS) + 1))})"


@dataclass(frozen=True)
class Ledger:
    store: Store

    def write(self, entries: Iterable[Entry]) -> int:
        """Add those whose key is not there yet; returns how many. Call within `store.transaction()`."""
        new = self.new(list(entries))
        if new:
            now = int(time.time())
            last = {"last": self.store.rows("select max(id) as id from ledger")[0]["id"] or 0}
            self.store.execute_many(_INSERT, ((*_values(entry), now) for entry in new))
            for sql in ADDING:
                self.store.execute(sql, last)
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
        """The entry of a job, all corrections to it, and what was given back of it."""
        return self.about(f"job:{uuid}")

    def about(self, key: str) -> list[Entry]:
        """The same for the key of a job's entry, or of an imported one's."""
        uuid = key.removeprefix("job:")
        rows = self.store.rows(
            "select * from ledger where key = ? or (key >= ? and key < ?) or (key >= ? and key < ?) order by id",
            [key, f"correction:{uuid}:", f"correction:{uuid};", f"refund:{key}:", f"refund:{key};"],
        )
        return [_entry(row) for row in rows]

    def sums(
        self, by: str, begin: date, end: date, names: Mapping[str, str] | None = None, limit: int = -1
    ) -> list[dict[str, Any]]:
        """Sums from `begin` to before `end`, by one of GROUPS, the dearest first (months in their order).

        names: values that columns must have, such as {"user": "alice"}. Whole months and years come from sums of
        theirs, so that the answer does not grow with the number of jobs.
        """
        begin, end = self._widened(begin, end)
        order = "name" if by == "month" else "amount desc, pages desc, name"
        sql = f"select * from ({query(by, begin, end, names or {})}) order by {order} limit :limit"
        return self.store.rows(sql, {**(names or {}), "limit": limit})

    def total(self, begin: date, end: date) -> dict[str, int]:
        """The sum of everything from `begin` to before `end`."""
        found = self.sums("month", begin, end)
        return {name: sum(row[name] for row in found) for name in SUMS}

    def over_time(self, since: float, until: float) -> list[dict[str, int]]:
        """Sums by the quarter of an hour, in which every day of every zone begins; at: when it begins, since 1970."""
        sql = f"select at, {', '.join(SUMS)} from costs_by_time where at >= ? and at < ? order by at"
        return self.store.rows(sql, [_quarter(since), until])

    def charged(self, user: str, begin: date, end: date) -> dict[str, int]:
        """jobs, pages and amount that a person pays for; what a shared account pays is not among it."""
        found = self.sums("month", begin, end, {"user": user, "account": ""})
        return {name: sum(row[name] for row in found) for name in ("jobs", "pages", "amount")}

    def newest(
        self, begin: date, end: date, names: Mapping[str, str] | None = None, limit: int = -1, offset: int = 0
    ) -> list[Entry]:
        """The entries behind a sum, newest day first."""
        sql, values = _between(begin, end, names, f"kind != '{DEPOSIT}'")
        place = {"limit": limit, "offset": offset}
        rows = self.store.rows(f"{sql} order by day desc, id desc limit :limit offset :offset", {**values, **place})
        return [_entry(row) for row in rows]

    def _widened(self, begin: date, end: date) -> tuple[date, date]:
        """The same entries between whole years, where nothing lies between an end of the period and the year's."""
        found = self.store.rows(
            "select (select min(day) from ledger) as oldest, (select max(day) from ledger) as newest"
        )
        oldest, newest = found[0]["oldest"], found[0]["newest"]
        if oldest is None or begin >= end:
            return begin, end
        begin = begin.replace(month=1, day=1) if number(begin) <= oldest else begin
        end = date(end.year + 1, 1, 1) if number(end) > newest else end
        return begin, end

    def entries(self, begin: date, end: date, names: Mapping[str, str] | None = None, limit: int = -1) -> list[Entry]:
        """The entries behind a sum, oldest first. What was paid in is in no sum."""
        sql, values = _between(begin, end, names, f"kind != '{DEPOSIT}'")
        return [
            _entry(row) for row in self.store.rows(f"{sql} order by at, id limit :limit", {**values, "limit": limit})
        ]

    def deposits(self, begin: date, end: date, names: Mapping[str, str] | None = None) -> list[Entry]:
        """What was paid in, oldest first."""
        sql, values = _between(begin, end, names, f"kind = '{DEPOSIT}'")
        return [_entry(row) for row in self.store.rows(f"{sql} order by at, id", values)]

    def balance(self, name: str, shared: bool = False) -> int:
        """What is left of all that was paid in, in millionths; negative when more was printed than paid. What was
        imported had been paid for, or not, before anything was paid in here."""
        who = "account = :name and account != ''" if shared else "user = :name and account = ''"
        sql = (
            f"select (select coalesce(sum(amount), 0) from costs_by_month where {who}) + "
            f"(select coalesce(sum(amount), 0) from ledger where kind = '{DEPOSIT}' and {who}) - "
            f"(select coalesce(sum(amount), 0) from ledger where kind = 'import' and {who}) as owed"
        )
        return -int(self.store.rows(sql, {"name": name})[0]["owed"])

    def deposit(self, key: str, name: str, amount: int, day: date, shared: bool = False, remark: str = "") -> bool:
        """Money paid in; False when this very deposit was written before. Call within a transaction."""
        user, account = ("", name) if shared else (name, "")
        entry = Entry(f"deposit:{key}", "deposit", int(time.time()), number(day), user, account=account, amount=-amount)
        return self.write([replace(entry, facts=remark)]) == 1

    def new(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those of them whose key is not there yet, each once."""
        known: set[str] = set()
        for at in range(0, len(entries), _KEYS_AT_ONCE):
            keys = [entry.key for entry in entries[at : at + _KEYS_AT_ONCE]]
            marks = ", ".join("?" * len(keys))
            known.update(row["key"] for row in self.store.rows(f"select key from ledger where key in ({marks})", keys))
        return list({entry.key: entry for entry in reversed(entries) if entry.key not in known}.values())[::-1]


def _between(begin: date, end: date, names: Mapping[str, str] | None, kind: str) -> tuple[str, dict[str, Any]]:
    conditions = ["day >= :begin and day < :end", kind, *(f"{name} = :{name}" for name in names or {})]
    values = {**(names or {}), "begin": number(begin), "end": number(end)}
    return f"select * from ledger where {' and '.join(conditions)}", values


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(**{name: row[name] for name in _COLUMNS})


def _quarter(at: float) -> int:
    return int(at // QUARTER * QUARTER)
