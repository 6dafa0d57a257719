"""The ledger: append-only, one entry per job; corrections, refunds and deposits are entries of their own.

An entry's key says what it is for, and a key is never written twice, so whatever is read again, swept twice or
imported once more changes nothing:

    job:UUID                 a printed job                correction:UUID:N        the Nth change to it
    import:SERVER:JOB:AT     a line of an old page_log    refund:KEY:N             the Nth time that an administrator
    deposit:NAME             money paid in                                         gave something of it back

Sums are kept in the transaction that adds the entries: costs_by_day and costs_by_month by all who have to do with them,
costs_by_name by one name each, also of years, and costs_by_time by the quarter of an hour. The controller and the
command line both write here, each in a transaction that waits for the other.
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
QUARTER = 900
"""Seconds of a row in costs_by_time."""
_SUMS = ("jobs", "pages", "sheets", "colour_pages", "amount")
_WHO = ("user", "department", "account", "printer")
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
            self.store.execute_many(_upsert(table, ("period", *_WHO)), _summed(new, divisor))
        self.store.execute_many(_upsert("costs_by_name", ("period", "by", "name")), _named(new))
        self.store.execute_many(
            _upsert("costs_by_time", ("at",)), _rows(("at",), (((_quarter(one.at),), one) for one in new))
        )
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
        spans = _spans(begin, end, years=by != "month")
        parts = [part for span in spans for part in _part(by, span, names or {})]
        sums = ", ".join(f"sum({name}) as {name}" for name in _SUMS)
        order = "name" if by == "month" else "amount desc, pages desc, name"
        union = " union all ".join(parts) or f"select '' as name, {', '.join('0 as ' + name for name in _SUMS)} where 0"
        sql = f"select name, {sums} from ({union}) group by name order by {order} limit :limit"
        return self.store.rows(sql, {**(names or {}), "limit": limit})

    def total(self, begin: date, end: date) -> dict[str, int]:
        """The sum of everything from `begin` to before `end`."""
        found = self.sums("month", begin, end)
        return {name: sum(row[name] for row in found) for name in _SUMS}

    def over_time(self, since: float, until: float) -> list[dict[str, int]]:
        """Sums by the quarter of an hour, in which every day of every zone begins; at: when it begins, since 1970."""
        sql = f"select at, {', '.join(_SUMS)} from costs_by_time where at >= ? and at < ? order by at"
        return self.store.rows(sql, [_quarter(since), until])

    def charged(self, user: str, begin: date, end: date) -> dict[str, int]:
        """jobs, pages and amount that a person pays for; what a shared account pays is not among it."""
        found = self.sums("month", begin, end, {"user": user, "account": ""})
        return {name: sum(row[name] for row in found) for name in ("jobs", "pages", "amount")}

    def newest(
        self, begin: date, end: date, names: Mapping[str, str] | None = None, limit: int = -1, offset: int = 0
    ) -> list[Entry]:
        """The entries behind a sum, newest day first."""
        conditions = ["day >= :begin and day < :end", *(f"{name} = :{name}" for name in names or {})]
        values = {**(names or {}), "begin": number(begin), "end": number(end), "limit": limit, "offset": offset}
        sql = f"select * from ledger where {' and '.join(conditions)} order by day desc, id desc"
        return [_entry(row) for row in self.store.rows(f"{sql} limit :limit offset :offset", values)]

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
        """The entries behind a sum, oldest first."""
        conditions = ["day >= :begin and day < :end", *(f"{name} = :{name}" for name in names or {})]
        values = {**(names or {}), "begin": number(begin), "end": number(end), "limit": limit}
        sql = f"select * from ledger where {' and '.join(conditions)} order by at, id limit :limit"
        return [_entry(row) for row in self.store.rows(sql, values)]

    def balance(self, name: str, shared: bool = False) -> int:
        """What is left of all that was paid in, in millionths; negative when more was printed than paid."""
        who = "account = :name and account != ''" if shared else "user = :name and account = ''"
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


def _quarter(at: float) -> int:
    return int(at // QUARTER * QUARTER)


def _upsert(table: str, place: Sequence[str]) -> str:
    columns = (*place, *_SUMS)
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
    return (
        f"insert into {table} ({', '.join(columns)}) values ({', '.join(':' + name for name in columns)}) "
        f"on conflict ({', '.join(place)}) do update set {added}"
    )


def _summed(entries: Iterable[Entry], divisor: int) -> list[dict[str, Any]]:
    return _rows(
        ("period", *_WHO),
        (((one.day // divisor, one.user, one.department, one.account, one.printer), one) for one in entries),
    )


def _named(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """For costs_by_name. Its period is a day, a month or a year by the number of its digits."""
    return _rows(
        ("period", "by", "name"),
        (
            ((one.day // divisor, by, getattr(one, by, "")), one)
            for one in entries
            for by, divisors in _NAMED_BY.items()
            for divisor in divisors
        ),
    )


def _rows(names: Sequence[str], placed: Iterable[tuple[tuple[Any, ...], Entry]]) -> list[dict[str, Any]]:
    """The sum of the entries at each place."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for place, entry in placed:
        if entry.kind == "deposit":
            continue  # what was paid in is no cost
        total = sums.setdefault(place, [0, 0, 0, 0, 0])
        jobs = entry.kind in ("job", "import")
        values = (jobs, entry.pages, entry.sheets, entry.colour_pages, entry.amount)
        for at, value in enumerate(values):
            total[at] += value
    return [dict(zip((*names, *_SUMS), (*place, *total), strict=True)) for place, total in sums.items()]


_DAY, _MONTH, _YEAR = 1, 100, 10_000
"""What a day, 20261122, is divided by."""
_EVERY = (_DAY, _MONTH, _YEAR)
_NAMED_BY = {"user": (_MONTH, _YEAR), "department": _EVERY, "account": _EVERY, "printer": _EVERY, "all": _EVERY}
"""Whose sums are in costs_by_name, and over which periods. Those of a person and a day would be as many as jobs."""


@dataclass(frozen=True)
class _Span:
    """Whole periods in a row."""

    divisor: int
    first: int
    end: int
    """The one after the last."""


def _part(by: str, span: _Span, names: Mapping[str, str]) -> Iterator[str]:
    """The query for one span."""
    group, conditions = GROUPS[by], [f"period >= {span.first} and period < {span.end}"]
    if not names and span.divisor in _NAMED_BY.get("all" if by == "month" else by, ()):
        table, group = "costs_by_name", "name"
        conditions.append(f"by = '{'all' if by == 'month' else by}'")
    elif span.divisor == _YEAR:
        yield from _part(by, _Span(_MONTH, span.first * 100, span.end * 100), names)
        return
    else:
        table = "costs_by_day" if span.divisor == _DAY else "costs_by_month"
        conditions += [f"{name} = :{name}" for name in names]
        conditions += ["account != ''"] if names.get("account") else []  # it has an index for those
    if by == "month":
        group = f"period / {_MONTH // span.divisor}"  # 202611, from 20261122 or itself
    yield f"select {group} as name, {', '.join(_SUMS)} from {table} where {' and '.join(conditions)}"


def _spans(begin: date, end: date, years: bool = True) -> Iterator[_Span]:
    """Whole years, months around them, and days around those."""
    grains = (_YEAR, _MONTH, _DAY) if years else (_MONTH, _DAY)
    yield from _within(begin, end, grains)


def _within(begin: date, end: date, grains: Sequence[int]) -> Iterator[_Span]:
    if begin >= end:
        return
    grain, *finer = grains
    if grain == _DAY:
        yield _Span(_DAY, number(begin), number(end))
        return
    first = begin if begin == _begin_of(begin, grain) else _next(begin, grain)
    last = _begin_of(end, grain)
    if first >= last:
        yield from _within(begin, end, finer)
        return
    yield from _within(begin, first, finer)
    yield _Span(grain, number(first) // grain, number(last) // grain)
    yield from _within(last, end, finer)


def _begin_of(day: date, grain: int) -> date:
    return day.replace(month=1, day=1) if grain == _YEAR else day.replace(day=1)


def _next(day: date, grain: int) -> date:
    return date(day.year + 1, 1, 1) if grain == _YEAR else _next_month(day)


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
