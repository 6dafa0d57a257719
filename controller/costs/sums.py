"""Sums of the ledger's entries: how new entries are added to them, and the query that answers for any period.

costs_by_day and costs_by_month have a row for all who have to do with an entry, costs_by_name one for each of them
alone, also over years, and costs_by_time one for a quarter of an hour. The database makes them of the entries
themselves, which takes a third of the time that it takes to add them up here and to hand the rows over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

GROUPS = {"user": "user", "department": "department", "account": "account", "printer": "printer", "month": "period"}
"""What reports can be grouped by, and the column that has it."""
SUMS = ("jobs", "pages", "sheets", "colour_pages", "amount")
QUARTER = 900
"""Seconds of a row in costs_by_time."""
_WHO = "user, department, account, printer"
_DAY, _MONTH, _YEAR = 1, 100, 10_000
"""What a day, 20261122, is divided by."""
_EVERY = (_DAY, _MONTH, _YEAR)
_NAMED_BY = {"user": (_MONTH, _YEAR), "department": _EVERY, "account": _EVERY, "printer": _EVERY, "all": _EVERY}
"""Whose sums are in costs_by_name, and over which periods. Those of a person and a day would be as many as jobs."""
_COLUMNS = ", ".join(SUMS)
_SUMMED = ", ".join(f"sum({name}) as {name}" for name in SUMS)


def number(day: date) -> int:
    """20261122."""
    return day.year * 10_000 + day.month * 100 + day.day


def _of_new(place: str) -> str:
    """The sums of the entries whose id is above :last, at each place."""
    counted = _SUMMED.replace("sum(jobs)", "sum(kind in ('job', 'import'))")
    places = ", ".join(str(at) for at in range(1, place.count(",") + 2))
    # What was paid in is no cost. An index would give the order of days, for the price of reading all of them.
    new = "ledger not indexed where id > :last and kind != 'deposit'"
    return f"select {place}, {counted} from {new} group by {places}"


def _add(table: str, place: str, made: str, given: str = "") -> str:
    """made: the query for what is added at which place."""
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
    return f"{given}insert into {table} ({place}, {_COLUMNS}) {made} on conflict ({place}) do update set {added}"


def _add_names() -> str:
    """A period here is a day, a month or a year by the number of its digits; the longer are summed from the shorter."""
    names = {"department": "department", "account": "account", "printer": "printer", "all": "''"}
    days = [f"select day, '{by}' as by, {name} as name, {_SUMMED} from who group by 1, 3" for by, name in names.items()]
    given = {
        "who": _of_new("day, department, account, printer"),
        "days": " union all ".join(days),
        "users": _of_new("day / 100, 'user', user"),
        "months": f"select day / 100 as month, by, name, {_SUMMED} from days group by 1, 2, 3 "
        "union all select * from users",
    }
    years = f"select month / 100, by, name, {_SUMMED} from months group by 1, 2, 3"
    made = f"select * from days union all select * from months union all {years}"
    tables = ", ".join(f"{name} as ({query})" for name, query in given.items())
    return _add("costs_by_name", "period, by, name", made, f"with {tables} ")


ADDING = (
    _add("costs_by_day", f"period, {_WHO}", _of_new(f"day, {_WHO}")),
    _add("costs_by_month", f"period, {_WHO}", _of_new(f"day / {_MONTH}, {_WHO}")),
    _add_names(),
    _add("costs_by_time", "at", _of_new(f"at / {QUARTER} * {QUARTER}")),
)
"""The statements that add all entries whose id is above :last."""


def query(by: str, begin: date, end: date, names: Mapping[str, str]) -> str:
    """Rows of a name and SUMS from `begin` to before `end`, by one of GROUPS; names: columns that have a value of
    this name. Whole months and years come from sums of theirs."""
    parts = [part for span in _spans(begin, end, years=by != "month") for part in _parts(by, span, names)]
    if not parts:
        return f"select '' as name, {', '.join('0 as ' + name for name in SUMS)} where 0"
    if len(parts) == 1 and parts[0].unique:
        return parts[0].sql
    return f"select name, {_SUMMED} from ({' union all '.join(part.sql for part in parts)}) group by name"


@dataclass(frozen=True)
class _Span:
    """Whole periods in a row."""

    divisor: int
    first: int
    last: int


@dataclass(frozen=True)
class _Part:
    sql: str
    unique: bool
    """Whether each name has one row, which saves a third of the time of thousands of names."""


def _parts(by: str, span: _Span, names: Mapping[str, str]) -> Iterator[_Part]:
    """The queries for one span."""
    group, one = GROUPS[by], span.first == span.last
    conditions = [f"period = {span.first}" if one else f"period between {span.first} and {span.last}"]
    named = not names and span.divisor in _NAMED_BY.get("all" if by == "month" else by, ())
    if named:
        table, group = "costs_by_name", "name"
        conditions.append(f"by = '{'all' if by == 'month' else by}'")
    elif span.divisor == _YEAR:
        yield from _parts(by, _Span(_MONTH, span.first * 100 + 1, span.last * 100 + 12), names)
        return
    else:
        table = "costs_by_day" if span.divisor == _DAY else "costs_by_month"
        conditions += [f"{name} = :{name}" for name in names]
        conditions += ["account != ''"] if names.get("account") else []  # it has an index for those
    if by == "month":
        group = f"period / {_MONTH // span.divisor}"  # 202611, from 20261122 or itself
    yield _Part(f"select {group} as name, {_COLUMNS} from {table} where {' and '.join(conditions)}", named and one)


def _spans(begin: date, end: date, years: bool = True) -> Iterator[_Span]:
    """Whole years, months around them, and days around those."""
    grains = (_YEAR, _MONTH, _DAY) if years else (_MONTH, _DAY)
    yield from _within(begin, end, grains)


def _within(begin: date, end: date, grains: Sequence[int]) -> Iterator[_Span]:
    if begin >= end:
        return
    grain, *finer = grains
    if grain == _DAY:
        yield _span(_DAY, begin, end)
        return
    first = begin if begin == _begin_of(begin, grain) else _next(begin, grain)
    last = _begin_of(end, grain)
    if first >= last:
        yield from _within(begin, end, finer)
        return
    yield from _within(begin, first, finer)
    yield _span(grain, first, last)
    yield from _within(last, end, finer)


def _span(grain: int, begin: date, end: date) -> _Span:
    """From the day when it begins to the day before its end."""
    return _Span(grain, number(begin) // grain, number(end - timedelta(days=1)) // grain)


def _begin_of(day: date, grain: int) -> date:
    return day.replace(month=1, day=1) if grain == _YEAR else day.replace(day=1)


def _next(day: date, grain: int) -> date:
    return date(day.year + 1, 1, 1) if grain == _YEAR else _next_month(day)


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
