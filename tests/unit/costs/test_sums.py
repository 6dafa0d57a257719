"""Sums that are kept equal the ledger's, over any time, by anything."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from controller.costs.ledger import Entry, Ledger
from controller.costs.sums import GROUPS, number
from controller.migrations import fill_summaries, migrations
from controller.store import Store

FIRST = date(2024, 10, 20)
SUMS = ("jobs", "pages", "sheets", "colour_pages", "amount")
days = st.integers(0, 900).map(lambda count: FIRST + timedelta(count))
months = days.map(lambda day: (day.replace(day=1), (day.replace(day=1) + timedelta(32)).replace(day=1)))
periods = st.one_of(st.tuples(days, days), months, days.map(lambda day: (day, day + timedelta(1))))


@st.composite
def ledgers(draw: st.DrawFn) -> list[Entry]:
    """Jobs, imports, corrections of either sign and deposits, of some people, on days of three years."""
    entries = []
    for place in range(draw(st.integers(0, 30))):
        kind = draw(st.sampled_from(["job", "job", "import", "correction", "deposit"]))
        day, user = draw(days), draw(st.sampled_from(["alice", "bob", "carol"]))
        pages = draw(st.integers(-9 if kind == "correction" else 1, 9))
        at = int(datetime(day.year, day.month, day.day, draw(st.integers(0, 23)), 7, tzinfo=UTC).timestamp())
        department = "Chemistry" if user == "alice" else ""
        printer, account = draw(st.sampled_from(["office", "lab"])), draw(st.sampled_from(["", "", "club"]))
        who = {"department": department, "account": account, "printer": printer}
        sums = {"pages": pages, "sheets": pages, "colour_pages": pages // 2, "amount": pages * 12_345}
        entries.append(Entry(f"{kind}:{place}", kind, at, number(day), user, **who, **sums))  # type: ignore[arg-type]
    return entries


def summed(entries: Sequence[Entry]) -> tuple[int, ...]:
    printed = [one for one in entries if one.kind != "deposit"]
    jobs = sum(one.kind in ("job", "import") for one in printed)
    return jobs, *(sum(getattr(one, name) for one in printed) for name in SUMS[1:])


def grouped(entries: Sequence[Entry], by: str) -> dict[Any, tuple[int, ...]]:
    groups: dict[Any, list[Entry]] = {}
    for one in entries:
        if one.kind != "deposit":
            groups.setdefault(one.day // 100 if by == "month" else getattr(one, GROUPS[by]), []).append(one)
    return {name: summed(group) for name, group in groups.items()}


def values(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[name] for name in SUMS)


@settings(max_examples=60, deadline=None)
@given(entries=ledgers(), period=periods, parts=st.integers(1, 4))
def test_every_sum_is_the_ledgers(entries: list[Entry], period: tuple[date, date], parts: int) -> None:
    begin, end = period
    within = [one for one in entries if number(begin) <= one.day < number(end)]
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "db", create=True) as store:
        ledger = Ledger(store)
        for part in range(parts):
            ledger.write_many(entries[part::parts])
        for by in GROUPS:
            expected = grouped(within, by)
            found = ledger.sums(by, begin, end)
            assert {row["name"]: values(row) for row in found} == expected
            assert ledger.sums(by, begin, end, limit=2) == found[:2]
            of_alice = grouped([one for one in within if one.user == "alice"], by)
            assert {row["name"]: values(row) for row in ledger.sums(by, begin, end, {"user": "alice"})} == of_alice
        assert values(ledger.total(begin, end)) == summed(within)
        own = [one for one in within if one.user == "bob" and not one.account]
        charged = ledger.charged("bob", begin, end)
        assert (charged["jobs"], charged["pages"], charged["amount"]) == tuple(summed(own)[at] for at in (0, 1, 4))
        since, until = (datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() for day in (begin, end))
        quarters = ledger.over_time(since, until)
        assert tuple(sum(row[name] for row in quarters) for name in SUMS) == summed(within)


@settings(max_examples=20, deadline=None)
@given(entries=ledgers())
def test_an_older_database_gets_the_same_sums(entries: list[Entry]) -> None:
    tables = {name: f"select * from {name} order by 1, 2, 3" for name in ("costs_by_name", "costs_by_time")}
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "db", create=True) as store:
        Ledger(store).write_many(entries)
        kept = {name: store.rows(sql) for name, sql in tables.items()}
        database = Database(store.path)
        with database.conn:
            fill_summaries(database)
        database.close()
        assert {name: store.rows(sql) for name, sql in tables.items()} == kept


def test_a_database_of_before_is_filled_when_it_is_opened(tmp_path: Path) -> None:
    """The tables as they were, with a job, its correction and a deposit."""
    database = Database(tmp_path / "db")
    migrations.apply(database, stop_before="m006_summaries")
    who = {"user": "alice", "department": "", "account": "", "printer": "lab"}
    for number_, (kind, pages) in enumerate([("job", 3), ("correction", -1), ("deposit", 0)], 1):
        entry = {"key": f"{kind}:1", "kind": kind, "at": 1_795_000_000, "day": 20261118, **who, "pages": pages}
        sums = {"sheets": pages, "colour_pages": 0, "amount": pages * 50_000}
        database["ledger"].insert({"id": number_, **entry, **sums})
    total = {"jobs": 1, "pages": 2, "sheets": 2, "colour_pages": 0, "amount": 100_000}
    database["costs_by_day"].insert({"period": 20261118, **who, **total})
    database["costs_by_month"].insert({"period": 202611, **who, **total})
    database.close()
    with Store(tmp_path / "db", create=True) as store:
        for begin, end in ((date(2026, 11, 18), date(2026, 11, 19)), (date(2026, 1, 1), date(2027, 1, 1))):
            assert Ledger(store).total(begin, end) == total
            for by in ("user", "printer"):
                [row] = Ledger(store).sums(by, begin, end)
                assert row == {"name": who[by], **total}
        assert Ledger(store).over_time(0, 2e9) == [{"at": 1_794_999_600, **total}]


def test_the_entries_behind_a_sum_come_newest_day_first_and_in_pages(tmp_path: Path) -> None:
    with Store(tmp_path / "db", create=True) as store:
        ledger = Ledger(store)
        made = [Entry(f"job:{at}", "job", 0, number(FIRST + timedelta(at)), "alice", printer="lab") for at in range(5)]
        ledger.write_many([*made, Entry("job:x", "job", 0, number(FIRST), "bob", printer="office")])
        period = FIRST, FIRST + timedelta(9)
        assert [one.key for one in ledger.newest(*period, {"user": "alice"}, 2, 1)] == ["job:3", "job:2"]
        assert [one.key for one in ledger.newest(*period, {"printer": "office"})] == ["job:x"]


@pytest.mark.parametrize("by", GROUPS)
def test_an_empty_ledger_has_no_sums(tmp_path: Path, by: str) -> None:
    with Store(tmp_path / "db", create=True) as store:
        assert Ledger(store).sums(by, FIRST, FIRST + timedelta(400)) == []
        assert Ledger(store).total(FIRST, FIRST + timedelta(400))["jobs"] == 0
