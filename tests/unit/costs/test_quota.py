"""Limits: what they allow, over all nodes, and people from a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.config import Costs, Price, Quota, SharedAccount
from controller.costs.charge import Site
from controller.costs.collect import Charger
from controller.costs.gate import Gate
from controller.costs.ledger import Entry, Ledger
from controller.costs.people import People, PeopleError, read, site_of
from controller.costs.quota import FAILED, LIMIT, NEEDED, Used, Wish, period, refusal
from controller.costs.rules import published
from controller.costs.sums import number
from controller.jobs.table import Job, JobTable
from controller.store import Store

TODAY = date(2026, 3, 4)
PRICES = (Price(per_page=Decimal("0.05")),)


def asked(costs: Costs, pages: int = 1, used: Used = Used(), left: int = 0, **options: str) -> str:  # noqa: B008
    site = Site(shared=costs.shared_accounts, departments={"alice": "Chemistry"})
    named = tuple((name.replace("_", "-"), value) for name, value in options.items())
    wish = Wish("u", "alice", pages, 50_000 * pages, named)
    return refusal(wish, costs, site, lambda begin, end: used, lambda name, shared: left, TODAY)


def test_without_limits_everything_goes() -> None:
    assert not Costs().limited
    assert asked(Costs()) == ""


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (Quota(pages=10), ""),
        (Quota(pages=9), LIMIT),
        (Quota(amount=Decimal("0.50")), ""),
        (Quota(amount=Decimal("0.49")), LIMIT),
        (Quota(pages=1, users=("bob",)), ""),
        (Quota(pages=1, departments=("chem*",)), LIMIT),
        (Quota(pages=1, departments=("chem*",), users=("bob",)), ""),
    ],
)
def test_a_quota_holds_what_goes_beyond(quota: Quota, expected: str) -> None:
    assert asked(Costs(quotas=(quota,)), pages=4, used=Used(6, 300_000)) == expected


def test_prepaid_holds_what_was_not_paid_for() -> None:
    assert asked(Costs(prepaid=True), pages=2, left=100_000) == ""
    assert asked(Costs(prepaid=True), pages=2, left=99_999) == LIMIT


def test_shared_accounts_are_for_their_members() -> None:
    mine = SharedAccount(name="lab", departments=("Chemistry",))
    theirs = SharedAccount(name="club", users=("bob",))
    costs = Costs(shared_accounts=(mine, theirs), quotas=(Quota(pages=0),))
    assert asked(costs, job_billing="lab") == ""
    assert asked(costs, job_billing="club") == FAILED
    assert asked(costs, job_account_id="only a remark") == LIMIT


def test_an_account_can_be_required() -> None:
    costs = Costs(shared_accounts=(SharedAccount(name="lab"),), account_required=True)
    assert asked(costs) == NEEDED
    assert asked(costs, job_billing="nonsense") == FAILED
    assert asked(costs, job_billing="lab") == ""


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.sampled_from(["day", "week", "month", "year"]))
def test_today_lies_in_its_period_and_periods_follow_one_another(today: date, per: str) -> None:
    begin, end = period(per, today)
    assert begin <= today < end
    assert period(per, end)[0] == end


class TestGate:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with Store(tmp_path / "db", create=True) as store:
            yield store

    def gate(self, store: Store, costs: Costs) -> Gate:
        def no_target(node: Any, store: Any) -> Any:
            raise AssertionError

        rules = costs, site_of(costs, {})
        gate = Gate(lambda: Store(store.path), store.path.parent / "nodes", lambda: rules, no_target)
        gate.ensure()
        return gate

    def question(self, uuid: str, pages: int) -> dict[str, Any]:
        facts = {"uuid": uuid, "user": "alice", "queue": "office", "options": {}, "driver": False, "copies": 1}
        return {**facts, "count": ["counted", [["", False, pages]], 1, "", ""]}

    def test_jobs_on_several_nodes_share_one_limit(self, store: Store) -> None:
        gate = self.gate(store, Costs(prices=PRICES, quotas=(Quota(pages=10),)))
        assert gate.answer(self.question("1", 6)) == ""
        assert gate.answer(self.question("2", 6)) == LIMIT
        assert gate.answer(self.question("1", 6)) == ""  # tried again, it takes nothing more
        assert gate.answer(self.question("3", 4)) == ""

    def test_each_document_of_a_job_takes_its_part_of_the_limit(self, store: Store) -> None:
        """Where a driver has each printed by itself, each asks for itself."""
        gate = self.gate(store, Costs(prices=PRICES, quotas=(Quota(pages=10),)))
        asked = [{**self.question("1", pages), "separately": 3} for pages in (4, 4, 4)]
        assert [gate.answer(one) for one in asked] == ["", "", LIMIT]
        assert gate.answer({**asked[2], "count": self.question("1", 2)["count"]}) == ""
        assert gate.answer(self.question("2", 1)) == LIMIT
        assert gate.answer(asked[0]) == ""  # tried again, it takes nothing more
        assert gate.answer(self.question("2", 1)) == LIMIT

    def test_what_is_charged_is_not_counted_twice(self, store: Store) -> None:
        costs = Costs(prices=PRICES, quotas=(Quota(pages=10),))
        gate = self.gate(store, costs)
        assert gate.answer(self.question("1", 6)) == ""
        today = site_of(costs, {}).tariff.today()
        Ledger(store).write_many([Entry("job:1", "job", 0, number(today), "alice", pages=6, amount=300_000)])
        assert gate.answer(self.question("2", 4)) == ""
        assert gate.answer(self.question("1", 6)) == ""
        assert gate.answer(self.question("3", 1)) == LIMIT

    def test_a_new_controller_knows_what_its_predecessor_let_through(self, store: Store) -> None:
        costs = Costs(prices=PRICES, quotas=(Quota(pages=10),))
        assert self.gate(store, costs).answer(self.question("1", 6)) == ""
        assert self.gate(store, costs).answer(self.question("2", 6)) == LIMIT
        assert self.gate(store, costs).answer(self.question("1", 6)) == ""

    def test_what_a_shared_account_pays_for_is_taken_from_it_alone(self, store: Store) -> None:
        costs = Costs(prices=PRICES, prepaid=True, shared_accounts=(SharedAccount(name="lab"),))
        gate = self.gate(store, costs)
        with store.transaction():
            Ledger(store).deposit("a", "alice", 100_000, TODAY)
            Ledger(store).deposit("b", "lab", 100_000, TODAY, shared=True)
        lab = {"options": {"job-billing": "lab"}}
        assert gate.answer({**self.question("1", 2), **lab}) == ""
        assert gate.answer({**self.question("2", 1), **lab}) == LIMIT
        assert gate.answer(self.question("3", 2)) == ""
        assert gate.answer(self.question("4", 1)) == LIMIT

    @pytest.mark.parametrize("end", ["canceled", "completed"])
    def test_a_job_that_has_ended_takes_what_it_was_charged_and_no_more(self, store: Store, end: str) -> None:
        costs = Costs(prices=PRICES, quotas=(Quota(pages=10),))
        gate = self.gate(store, costs)
        assert gate.answer(self.question("1", 6)) == ""
        with store.transaction():
            job = Job("1", 1_000_001, "node-1", "office", "alice", "t", end, completed=int(time.time()))
            JobTable(store).put([replace(job, impressions=5 if end == "completed" else 0)])
        Charger(lambda: Store(store.path), store.path.parent / "nodes", lambda: site_of(costs, {})).collect()
        assert gate.answer(self.question("2", 11 if end == "canceled" else 6)) == LIMIT
        assert gate.answer(self.question("2", 10 if end == "canceled" else 5)) == ""

    def test_new_rules_hold_from_when_everybody_is_told_of_them(self, store: Store) -> None:
        rules = [(costs, site_of(costs, {})) for costs in (Costs(quotas=(Quota(pages=pages),)) for pages in (4, 9))]
        gate = self.gate(store, rules[0][0])
        gate.rules = lambda: rules[1]
        assert gate.answer(self.question("1", 6)) == LIMIT
        gate.ensure()
        told = published(store)
        assert told
        assert told.costs.quotas[0].pages == 9
        assert gate.answer(self.question("1", 6)) == ""

    def test_money_that_was_paid_in_can_be_printed_once(self, store: Store) -> None:
        gate = self.gate(store, Costs(prices=PRICES, prepaid=True))
        assert gate.answer(self.question("1", 1)) == LIMIT
        with store.transaction():
            Ledger(store).deposit("a", "alice", 100_000, TODAY)
        assert gate.answer(self.question("1", 1)) == ""
        assert gate.answer(self.question("2", 2)) == LIMIT


class TestPeople:
    def test_departments_and_opening_balances(self, tmp_path: Path) -> None:
        path = tmp_path / "accounts.csv"
        path.write_text("user,department,opening_balance\nalice,Chemistry,12.50\nbob,,\n")
        people = People()
        known = people.known(path)
        assert site_of(Costs(), known).department("alice") == "Chemistry"
        with Store(tmp_path / "db", create=True):
            pass
        for _ in range(2):  # a new controller reads the file again
            charger = Charger(
                lambda: Store(tmp_path / "db"), tmp_path, lambda: site_of(Costs(), known), people=lambda: known
            )
            charger.collect()
        with Store(tmp_path / "db") as store:
            assert Ledger(store).balance("alice") == 12_500_000

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("name\nalice\n", "the first line must name the columns: user, department, opening_balance"),
            ("user\nalice\nalice\n", "'alice' stands there twice"),
            ("user,opening_balance\nalice,much\n", "line 2: opening_balance is 'much', allowed is a number"),
            ("user,opening_balance\nalice,nan\n", "line 2: opening_balance is 'nan', allowed is a number"),
            ("user,opening_balance\nalice,1e30\n", "line 2: opening_balance is '1e30', allowed is a number"),
            ("user,department\n,Chemistry\n", "line 2: the user is missing"),
        ],
    )
    def test_a_mistake_is_named(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "accounts.csv").write_text(text)
        with pytest.raises(PeopleError, match=said):
            read(tmp_path / "accounts.csv")

    def test_a_mistake_leaves_the_last_good_file_in_force(self, tmp_path: Path) -> None:
        path = tmp_path / "accounts.csv"
        path.write_text("user,department\nalice,Chemistry\n")
        people = People()
        assert "alice" in people.known(path)
        path.write_text("nonsense\n")
        assert "alice" in people.known(path)
        assert "the first line must name the columns" in people.problem
