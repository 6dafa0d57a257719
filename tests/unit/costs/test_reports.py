"""Reports: periods, prices tried on the past, statements, and page_log of old servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date
from decimal import Decimal
from pathlib import Path

import pytest

from controller.config import Costs, Price, SharedAccount
from controller.costs import reports
from controller.costs.charge import Site, facts
from controller.costs.collect import Meter
from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import Part, Printed, Tariff
from controller.costs.reports import CostsError, day_of
from controller.costs.rules import Rules, publish
from controller.snapshot import Node, NodeState
from controller.store import Store

DAY = 1_772_452_800
MARCH = (date(2026, 3, 1), date(2026, 3, 31))
SITE = Site(Tariff((Price(per_page=Decimal("0.05")),), UTC), {"bob": "Chemistry"})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Store(tmp_path / "db", create=True) as store:
        yield Ledger(store)


def entry(key: str, pages: int, colour: bool, user: str = "alice", kind: str = "job", title: str = "t") -> Entry:
    made = facts(Printed(DAY, "office", "", "one-sided", (Part("", colour, pages),)))
    amount = 50_000 * pages
    return Entry(key, kind, DAY, 20260302, user, printer="office", title=title, pages=pages, amount=amount, facts=made)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("2026-02", date(2026, 2, 1), date(2026, 2, 28)), ("2026-12-31", date(2026, 12, 31), date(2026, 12, 31))],
)
def test_a_period_is_given_in_days_or_months(text: str, first: date, last: date) -> None:
    assert (day_of(text), day_of(text, end=True)) == (first, last)


def test_what_is_no_day_is_named() -> None:
    with pytest.raises(CostsError, match="'2026-13' is no day; allowed is 2026-11-22, or a month 2026-11"):
        day_of("2026-13")


def test_other_prices_can_be_tried_on_the_past(ledger: Ledger) -> None:
    ledger.write_many([entry("job:1", 10, True), entry("job:2", 4, False, user="bob")])
    new = Site(Tariff((Price(colour=True, per_page=Decimal("0.20")), Price(per_page=Decimal("0.03"))), UTC))
    rows = reports.what_if(ledger, "user", *MARCH, new, {})
    assert rows == [
        {"name": "alice", "was": "0.50", "would_be": "2.00", "change": "1.50"},
        {"name": "bob", "was": "0.20", "would_be": "0.12", "change": "-0.08"},
    ]
    assert [row["amount"] for row in reports.sums(ledger, "user", *MARCH, {})] == ["0.50", "0.20"]


def test_a_correction_is_no_second_job_at_other_prices(ledger: Ledger) -> None:
    whole = entry("job:1", 10, False)
    change = Entry(**{**vars(whole), "key": "correction:1:1", "kind": "correction", "pages": 7, "amount": 350_000})
    ledger.write_many([entry("job:1", 3, False), change])
    [row] = reports.what_if(ledger, "user", *MARCH, SITE, {})
    assert (row["was"], row["would_be"]) == ("0.50", "0.50")


def test_a_correction_to_a_job_of_before_changes_nothing_at_other_prices(ledger: Ledger) -> None:
    whole = entry("job:1", 10, False)
    change = Entry(**{**vars(whole), "key": "correction:1:1", "kind": "correction", "pages": 7, "amount": 350_000})
    ledger.write_many([replace(entry("job:1", 3, False), day=20260228), change])
    new = Site(Tariff((Price(per_page=Decimal("0.20")),), UTC))
    [row] = reports.what_if(ledger, "user", *MARCH, new, {})
    assert (row["was"], row["would_be"], row["change"]) == ("0.35", "0.35", "0.00")


def test_a_statement_leads_to_each_job_and_shows_titles_as_text(ledger: Ledger) -> None:
    ledger.write_many([entry("job:1", 10, True, title="<script>alert(1)</script>"), entry("job:2", 1, False)])
    page = reports.statement(ledger, *MARCH, {}, SITE.tariff, "EUR")
    assert "Printing costs, March 2026" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "0.55" in page
    assert "of which" not in page


def test_a_statement_says_what_a_shared_account_pays(ledger: Ledger) -> None:
    ledger.write_many([entry("job:1", 10, True), replace(entry("job:2", 1, False), account="R&D")])
    page = reports.statement(ledger, *MARCH, {}, SITE.tariff, "EUR")
    assert "(paid by R&amp;D)" in page
    assert 'of which R&amp;D pays</td><td class="number">0.05<' in page


PAGE_LOG = """\
office alice 7 [02/Mar/2026:12:00:00 +0000] 1 2 Chemistry host a.pdf iso_a4_210x297mm two-sided-long-edge
office alice 7 [02/Mar/2026:12:00:01 +0000] 2 2 Chemistry host a.pdf iso_a4_210x297mm two-sided-long-edge
office bob 8 [02/Mar/2026:12:01:00.123456 +0000] total 3 - host b c.pdf - -
office bob 8 [02/Mar/2026:12:05:00.123456 +0000] total 10 - host b c.pdf - -
this is no line of a page_log
"""


def test_a_page_log_is_imported_once_and_counts_each_job_once(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "page_log").write_text(PAGE_LOG)
    site = replace(SITE, shared=(SharedAccount(name="Chemistry"),))
    for expected in (2, 0):
        assert ledger.write_many(reports.imported(tmp_path / "page_log", "old", site, [])) == expected
    found = {one.user: one for one in ledger.entries(date(2026, 3, 1), date(2026, 4, 1))}
    assert (found["alice"].pages, found["alice"].sheets, found["alice"].account) == (4, 2, "Chemistry")
    assert (found["bob"].pages, found["bob"].department, found["bob"].account) == (10, "Chemistry", "")
    assert {one.origin for one in found.values()} == {"estimated"}


def test_an_imported_job_is_paid_by_no_account_that_its_user_may_not_use(ledger: Ledger, tmp_path: Path) -> None:
    """What it said is kept as a remark, and what it cost was paid elsewhere."""
    (tmp_path / "page_log").write_text(PAGE_LOG)
    site = replace(SITE, shared=(SharedAccount(name="Chemistry", users=("bob",)),))
    ledger.write_many(reports.imported(tmp_path / "page_log", "old", site, []))
    [one] = ledger.entries(date(2026, 3, 1), date(2026, 4, 1), {"user": "alice"})
    assert (one.account, json.loads(one.facts)["billing"]) == ("", "Chemistry")
    assert one.amount > 0
    assert ledger.balance("alice") == 0


def test_lines_that_no_server_wrote_stop_no_import(ledger: Ledger, tmp_path: Path) -> None:
    often, log, strange = "9" * 23, tmp_path / "page_log", list[str]()
    lies = (("7", often), (often, "3"), ("7", "2000000"))
    lines = [f"office eve {job} [02/Mar/2026:12:00:00 +0000] total {pages} - host b - -\n" for job, pages in lies]
    log.write_text("".join(lines) + PAGE_LOG)
    assert ledger.write_many(reports.imported(log, "old", SITE, strange)) == 2
    assert strange == [*(line.rstrip() for line in lines), "this is no line of a page_log"]


@pytest.mark.parametrize(
    "when", ["01/Jan/0001:00:00:00 +1400", "31/Dec/9999:23:59:59 -1400", "99/Mar/2026:12:00:00 +0000"]
)
def test_a_time_that_no_clock_shows_is_named(tmp_path: Path, when: str) -> None:
    (tmp_path / "page_log").write_text(f"office eve 7 [{when}] total 3 - host b - -\n")
    with pytest.raises(CostsError, match="is no time as CUPS writes it into page_log"):
        list(reports.imported(tmp_path / "page_log", "old", SITE, []))


@pytest.mark.parametrize("text", ["", "no page_log\n"])
def test_what_is_no_page_log_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "page_log").write_text(text)
    with pytest.raises(CostsError, match="holds no line as CUPS writes them"):
        list(reports.imported(tmp_path / "page_log", "old", SITE, []))


def test_another_currency_is_told(ledger: Ledger) -> None:
    for currency in ("EUR", "CHF", "CHF"):
        publish(ledger.store, Rules(Costs(currency=currency), SITE))
    [event] = ledger.store.events()
    assert event["text"] == "amounts are in CHF from now on; those of before were EUR and are not converted"


def test_the_fleet_costs_its_idle_hours_too(ledger: Ledger) -> None:
    store = ledger.store
    with store.transaction():
        for slot in (1, 2):
            store.put_node(Node(f"node-{slot}", slot, "process", "127.0.0.1", 6000 + slot, NodeState.READY))
    meter = Meter(lambda: Decimal("0.60"), lambda: 4)
    meter.read(store, SITE)  # a moment after its start there is nothing to be read
    meter._last -= 120
    meter.read(store, SITE)
    today = SITE.tariff.today()
    row = reports.fleet(store, today, today)
    assert row["node_hours"] == pytest.approx(240 / 3600, abs=0.01)
    assert Decimal(row["cost"]) == pytest.approx(Decimal("0.04"), abs=Decimal("0.001"))
    assert Decimal(row["saved_by_scaling"]) == pytest.approx(Decimal("0.04"), abs=Decimal("0.001"))
    assert row["idle_share"] == 1.0
