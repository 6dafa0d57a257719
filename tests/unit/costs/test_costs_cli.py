"""The command `costs`, as it is typed."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from controller.cli import main
from controller.config import Costs, Price, Quota
from controller.costs.charge import facts
from controller.costs.ledger import Entry, Ledger
from controller.costs.people import Person, site_of
from controller.costs.rates import Part, Printed
from controller.costs.rules import Rules, publish
from controller.costs.sums import number
from controller.store import Store

AT = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with three jobs of March."""
    folder = tmp_path_factory.mktemp("state")
    with Store(folder / "cupsfleet.db", create=True) as store:
        Ledger(store).write_many([entry("1", "alice", 10), entry("2", "bob", 4), entry("3", "=cmd()", 1)])
    return folder


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """An empty ledger."""
    with Store(tmp_path / "cupsfleet.db", create=True):
        return tmp_path


def entry(key: str, user: str, pages: int) -> Entry:
    made = facts(Printed(AT, "office", "", "one-sided", (Part("", False, pages),)))
    values: dict[str, Any] = {"printer": "office", "title": "t", "pages": pages, "sheets": pages, "origin": "counted"}
    return Entry(f"job:{key}", "job", AT, 20260302, user, amount=50_000 * pages, facts=made, **values)


@dataclass
class Run:
    returncode: int
    stdout: str
    stderr: str


def run(state: Path, *words: str) -> Run:
    out, said = io.StringIO(), io.StringIO()
    arguments = ["cupsfleet", "costs", *words, "--state", str(state)]
    with redirect_stdout(out), redirect_stderr(said), mock.patch.object(sys, "argv", arguments):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Run(code, out.getvalue(), said.getvalue())


def done(state: Path, *words: str) -> str:
    found = run(state, *words)
    assert found.returncode == 0, found.stderr
    return found.stdout


MARCH = ("--from", "2026-03", "--to", "2026-03")


def test_sums_lead_to_jobs(state: Path) -> None:
    rows = json.loads(done(state, "--by", "user", *MARCH, "--json"))
    assert [(row["name"], row["pages"], row["amount"]) for row in rows][:2] == [
        ("alice", 10, "0.50"),
        ("bob", 4, "0.20"),
    ]
    [job] = json.loads(done(state, "jobs", "--user", "bob", *MARCH, "--json"))
    assert (job["pages"], job["amount"], job["origin"], job["key"]) == (4, "0.20", "counted", "job:2")
    [month] = json.loads(done(state, "--by", "month", *MARCH, "--json"))
    assert (month["name"], month["pages"]) == ("2026-03", 15)


def test_a_table_and_csv_show_the_same_and_csv_starts_no_formula(state: Path) -> None:
    assert "alice" in done(state, *MARCH)
    lines = done(state, *MARCH, "--csv").splitlines()
    assert lines[0] == "name,jobs,pages,sheets,colour_pages,amount"
    assert lines[1] == "alice,1,10,10,0,0.50"
    assert lines[3].startswith("'=cmd()")


def test_other_prices_are_tried_without_touching_the_ledger(state: Path, tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text("[[costs.prices]]\nper_page = 0.10\n")
    words = ("what-if", "--config", str(tmp_path / "new.toml"), "--since", "2026-03-01", "--to", "2026-03-31", "--json")
    before = done(state, *MARCH, "--json")
    assert json.loads(done(state, *words))[0] == {"name": "alice", "was": "0.50", "would_be": "1.00", "change": "0.50"}
    [one] = json.loads(done(state, *words, "--by", "job", "--user", "bob"))
    assert one == {"name": "job:2", "was": "0.20", "would_be": "0.40", "change": "0.20"}
    assert done(state, *MARCH, "--json") == before


def test_a_statement_is_written(state: Path, tmp_path: Path) -> None:
    done(state, "statement", "2026-03", "--user", "alice", "--output", str(tmp_path / "march.html"))
    page = (tmp_path / "march.html").read_text()
    assert "Printing costs, March 2026" in page
    assert "bob" not in page


def test_money_is_booked_once_for_each_key(state: Path) -> None:
    for _ in range(2):
        done(state, "deposit", "carol", "12.50", "--key", "till-7")
    assert done(state, "balance", "carol").strip() == "12.50"
    assert [row["amount"] for row in json.loads(done(state, "payments", "--user", "carol", "--json"))] == ["12.50"]
    assert json.loads(done(state, "jobs", "--user", "carol", "--json")) == []


def test_an_empty_name_is_a_name(books: Path) -> None:
    """That of the department of people who are in none, and of the account of jobs that people pay themselves."""
    with Store(books / "cupsfleet.db") as store:
        of_chemistry = replace(entry("c", "carol", 2), department="Chemistry", account="lab")
        Ledger(store).write_many([entry("a", "alice", 1), of_chemistry])
    for name in ("--department", "--account"):
        [job] = json.loads(done(books, "jobs", name, "", *MARCH, "--json"))
        [row] = json.loads(done(books, name, "", *MARCH, "--json"))
        assert (job["key"], row["name"]) == ("job:a", "alice")
    assert json.loads(done(books, "jobs", "--user", "", *MARCH, "--json")) == []
    page = done(books, "statement", "2026-03", "--department", "")
    assert "alice" in page
    assert "carol" not in page


def test_a_refund_is_an_entry_with_who_and_why(books: Path) -> None:
    with Store(books / "cupsfleet.db") as store:
        Ledger(store).write_many([entry("r", "erin", 4)])
    said = run(books, "refund", "job:r", "--amount", "0.05", "--why", "a smeared page").stderr
    assert "erin gets back 0.05 EUR and 0 pages" in said
    assert "erin gets back 0.15 EUR and 4 pages" in run(books, "refund", "r", "--why", "the printer jammed").stderr
    assert "everything was given back already" in run(books, "refund", "r", "--why", "again").stderr
    rows = json.loads(done(books, "jobs", "--user", "erin", "--from", "2026-03", "--json"))
    assert [(row["kind"], row["pages"], row["amount"]) for row in rows] == [
        ("job", 4, "0.20"),
        ("refund", 0, "-0.05"),
        ("refund", -4, "-0.15"),
    ]
    assert rows[2]["remark"].endswith(": the printer jammed")
    assert rows[2]["remark"] != ": the printer jammed"
    [total] = json.loads(done(books, "--user", "erin", "--from", "2026-03", "--json"))
    assert (total["jobs"], total["pages"], total["amount"]) == (1, 0, "0.00")
    assert done(books, "balance", "erin").strip() == "0.00"


def test_what_was_given_back_as_a_whole_costs_nothing_at_other_prices(books: Path, tmp_path: Path) -> None:
    with Store(books / "cupsfleet.db") as store:
        Ledger(store).write_many([entry("w1", "frank", 4), entry("w2", "frank", 2)])
    for words in (("w1",), ("w2", "--amount", "0.02")):
        assert run(books, "refund", *words, "--why", "a jam").returncode == 0
    (tmp_path / "new.toml").write_text("[[costs.prices]]\nper_page = 0.10\n")
    found = json.loads(done(books, "what-if", "--config", str(tmp_path / "new.toml"), "--since", "2026-03", "--json"))
    [frank] = [row for row in found if row["name"] == "frank"]
    assert frank == {"name": "frank", "was": "0.08", "would_be": "0.18", "change": "0.10"}


def test_the_rules_that_are_in_force_are_those_of_the_fleet(books: Path, tmp_path: Path) -> None:
    """Also in a shell that knows nothing of its configuration."""
    costs = Costs(currency="CHF", prices=(Price(per_page=Decimal("0.20")),), quotas=(Quota(pages=10),))
    with Store(books / "cupsfleet.db") as store:
        publish(store, Rules(costs, site_of(costs, {"gina": Person("gina", "Law")})))
        Ledger(store).write_many([replace(entry("g", "gina", 4), day=number(site_of(costs, {}).tariff.today()))])
    (tmp_path / "page_log").write_text("old gina 9 [02/Mar/2026:12:00:00 +0000] total 2 - localhost t - -\nrubbish\n")
    said = run(books, "import", str(tmp_path / "page_log"), "--server", "s").stderr
    assert "1 jobs are new in the ledger" in said
    assert "1 lines are not as CUPS writes them by default and were passed over, such as: rubbish" in said
    [one] = json.loads(done(books, "jobs", "--printer", "old", *MARCH, "--json"))
    assert (one["amount"], one["department"]) == ("0.40", "Law")
    paid = run(books, "deposit", "gina", "2").stderr
    assert "gina has 1.80 CHF" in paid  # the imported job was paid elsewhere
    assert "there is no user of the name 'gina'" in paid
    assert "amounts in CHF" in run(books, *MARCH).stderr
    [limit] = json.loads(done(books, "limits", "gina", "--json"))
    assert limit == {"what": "pages", "per": "month", "allowed": 10, "used": 4, "left": 6}


def test_a_table_of_sums_ends_with_its_total(state: Path) -> None:
    lines = done(state, "--user", "alice", *MARCH).splitlines()
    assert len(lines) == 2  # a total of one is none
    assert done(state, *MARCH).splitlines()[-1].split()[0] == "total"


def test_the_fleet_without_any_hours(state: Path) -> None:
    row = json.loads(done(state, "fleet", *MARCH, "--json"))
    assert (row["node_hours"], row["pages"], row["charged"]) == (0.0, 15, "0.75")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--from", "yesterday"), 1, "'yesterday' is no day; allowed is 2026-11-22, or a month 2026-11"),
        (("--from", "2026-03-02", "--to", "2026-03-01"), 1, "ends before it begins"),
        (
            ("--to", "9999-12"),
            1,
            "'9999-12' is no day; allowed is 2026-11-22, or a month 2026-11, of the years 1970 to 2999",
        ),
        (("--to", "3000-01-01"), 1, "'3000-01-01' is no day"),
        (("statement", "0001-01"), 1, "'0001-01' is no day"),
        (("deposit", "carol", "much"), 1, "'much' is no amount; allowed is a number such as 20 or 12.50"),
        (("refund", "nothing", "--why", "x"), 1, "nothing was charged for 'job:nothing'"),
        (("refund", "12345678", "--why", "x"), 1, "there is no job 12345678"),
        (("refund", "1", "--why", ""), 1, "it must be said what for"),
        (("refund", "job:1"), 2, "Missing option '--why'"),
        (("refund", "job:1", "--amount", "9", "--why", "x"), 1, "allowed is more than 0 and up to 0.50"),
        (("refund", "job:1", "--amount", "-1", "--why", "x"), 1, "allowed is more than 0 and up to 0.50"),
        (("deposit", "carol", "nan"), 1, "'nan' is no amount"),
        (("deposit", "carol", "1e30"), 1, "'1e30' is no amount"),
        (("deposit", "", "1"), 1, "'' is nobody's name"),
        (("statement", "March"), 1, "'March' is no day"),
        (("import", "/nonexistent/page_log"), 1, "/nonexistent/page_log can't be read"),
        (("--by", "weather"), 2, "Invalid value"),
    ],
)
def test_a_mistake_is_one_sentence(state: Path, words: tuple[str, ...], code: int, said: str) -> None:
    found = run(state, *words)
    assert found.returncode == code
    assert said in found.stderr


def test_a_page_log_of_the_fleets_own_is_not_charged_again(state: Path) -> None:
    log = state / "nodes" / "node-1" / "log" / "page_log"
    log.parent.mkdir(parents=True)
    log.write_text("office gina 9 [02/Mar/2026:12:00:00 +0000] total 2 - localhost t - -\n")
    found = run(state, "import", str(log))
    assert (found.returncode, "own server, whose jobs are charged already" in found.stderr) == (1, True)


def test_the_day_of_a_deposit_is_the_sites(state: Path) -> None:
    done(state, "deposit", "dave", "1")
    with Store(state / "cupsfleet.db") as store:
        [row] = store.rows("select day from ledger where kind = 'deposit' and user = 'dave'")
    assert abs((date.fromisoformat(str(row["day"])) - date.today()).days) <= 1  # noqa: DTZ011
