"""Answers about the ledger, as rows that people and programs can read. Amounts are exact and given as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from controller.costs.charge import Site, facts, printed_of, remark_of
from controller.costs.count import ESTIMATED, MOST_PAGES, media
from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import Part, Printed, Tariff, micros, shown
from controller.costs.running import running
from controller.costs.sums import GROUPS, number
from controller.store import Store

SUM_COLUMNS = ("name", "jobs", "pages", "sheets", "colour_pages", "amount")
ENTRY_COLUMNS = (
    *("when", "kind", "user", "department", "account", "printer", "job", "title"),
    *("pages", "sheets", "colour_pages", "amount", "origin", "remark", "key"),
)
PAYMENT_COLUMNS = ("when", "user", "account", "amount", "remark", "key")
HOUR = 3600
YEARS = range(1970, 3000)
"""Days of these are understood."""
LAST_JOB = 2**31 - 1
"""CUPS has no higher number."""

_LINE = re.compile(r"(\S+) (.*?) (\d+) \[([^\]]+)\] (total|\d+) (\d+)(?: (\S+))?(.*)")
"""PageLogFormat of CUPS as it is by default, %p %u %j %T %P %C %{job-billing} …"""
_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("controller.costs"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
)


class CostsError(Exception):
    """What was asked can't be answered; the message says what is allowed."""


def day_of(text: str, end: bool = False) -> date:
    """2026-11-22, or a month 2026-11: its first day, and as an end its last. Raises CostsError."""
    month = re.fullmatch(r"\d{4}-\d{2}", text)
    with suppress(ValueError):
        day = date.fromisoformat(text + "-01" if month else text)
        if day.year in YEARS:
            ends = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
            return ends if month and end else day
    raise CostsError(
        f"{text!r} is no day; allowed is 2026-11-22, or a month 2026-11, of the years {YEARS[0]} to {YEARS[-1]}"
    )


def sums(ledger: Ledger, by: str, begin: date, last: date, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Sums by one of ledger.GROUPS, `last` included."""
    rows = ledger.sums(by, begin, last + timedelta(days=1), names)
    return [{**row, "name": _period(row["name"]) if by == "month" else row["name"], **_amount(row)} for row in rows]


def added(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The last line of a table of sums."""
    kept = list(rows)
    total = {name: sum(row[name] for row in kept) for name in SUM_COLUMNS[1:-1]}
    return {"name": "total", **total, "amount": shown(sum(micros(Decimal(row["amount"])) for row in kept))}


def entries(ledger: Ledger, begin: date, last: date, names: Mapping[str, str], tariff: Tariff) -> list[dict[str, Any]]:
    """The entries behind a sum, `last` included."""
    return [_row(one, tariff) for one in ledger.entries(begin, last + timedelta(days=1), names)]


def payments(ledger: Ledger, begin: date, last: date, names: Mapping[str, str], tariff: Tariff) -> list[dict[str, Any]]:
    """What was paid in, `last` included; amounts are of money that came in."""
    found = ledger.deposits(begin, last + timedelta(days=1), names)
    return [_row(replace(one, amount=-one.amount), tariff) for one in found]


def _row(one: Entry, tariff: Tariff) -> dict[str, Any]:
    row = {name: getattr(one, name, "") for name in ENTRY_COLUMNS}
    when = f"{tariff.local(one.at):%Y-%m-%d %H:%M}"
    return {**row, "when": when, "amount": shown(one.amount), "remark": remark_of(one)}


def _amount(row: Mapping[str, Any]) -> dict[str, str]:
    return {"amount": shown(row["amount"])}


def _period(month: int | str) -> str:
    return f"{str(month)[:4]}-{str(month)[4:]}"


def what_if(
    ledger: Ledger, by: str, begin: date, last: date, site: Site, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What a period was charged, and what it would have been at other prices, by one of GROUPS or by `job`. Nothing is
    written.

    A correction is a difference and no print, so it is added to the job that it corrects; one whose job lies before the
    period has no price of its own. What was given back stays so.
    """
    was: dict[str, int] = {}
    would: dict[str, int] = {}
    column = "key" if by == "job" else GROUPS[by]
    for one in _corrected(ledger.entries(begin, last + timedelta(days=1), names)):
        name = _period(one.day // 100) if by == "month" else str(getattr(one, column))
        was[name] = was.get(name, 0) + one.amount
        priced = micros(site.tariff.amount(printed_of(one))) if one.kind in ("job", "import") else one.amount
        would[name] = would.get(name, 0) + priced
    ordered = sorted(was) if by == "month" else sorted(was, key=lambda name: (-would[name], name))
    pairs = ((name, was[name], would[name]) for name in ordered)
    return [{"name": name, "was": shown(a), "would_be": shown(b), "change": shown(b - a)} for name, a, b in pairs]


def _corrected(found: Iterable[Entry]) -> Iterator[Entry]:
    """Each job as it stands after its corrections; a correction carries the facts of the whole job. One that was given
    back as a whole is a refund of nothing more."""
    jobs: dict[str, Entry] = {}
    for one in found:
        if one.kind in ("job", "import"):
            jobs[one.key] = one
        elif one.kind == "correction":
            key = "job:" + one.key.removeprefix("correction:").rpartition(":")[0]
            if old := jobs.get(key):
                jobs[key] = replace(one, pages=one.pages + old.pages, amount=one.amount + old.amount, kind="job")
            else:
                jobs[one.key] = one
        elif one.kind == "refund":
            key = one.key.removeprefix("refund:").rpartition(":")[0]
            if one.pages and key in jobs:
                jobs[key] = replace(jobs[key], kind="refund", amount=jobs[key].amount + one.amount)
            else:
                jobs[one.key] = one
    yield from jobs.values()


def statement(ledger: Ledger, begin: date, last: date, names: Mapping[str, str], tariff: Tariff, currency: str) -> str:
    """An HTML page that can be printed: each person's jobs with their prices, and the sum."""
    found = ledger.entries(begin, last + timedelta(days=1), names)
    people = [
        {
            "name": name,
            "entries": [_row(one, tariff) for one in own],
            "jobs": sum(one.kind in ("job", "import") for one in own),
            "pages": sum(one.pages for one in own),
            "colour_pages": sum(one.colour_pages for one in own),
            "amount": shown(sum(one.amount for one in own)),
            "accounts": [
                (account, shown(sum(one.amount for one in own if one.account == account)))
                for account in sorted({one.account for one in own if one.account})
            ],
        }
        for name, group in groupby(sorted(found, key=lambda one: (one.user, one.at)), key=lambda one: one.user)
        for own in [list(group)]
    ]
    period = f"{begin:%B %Y}" if _is_month(begin, last) else f"{begin} to {last}"
    return _templates.get_template("statement.html.j2").render(people=people, period=period, currency=currency)


def _is_month(begin: date, last: date) -> bool:
    return begin.day == 1 and last == day_of(f"{begin:%Y-%m}", end=True)


def imported(path: Path, server: str, site: Site, strange: list[str]) -> Iterator[Entry]:
    """A page_log as entries, one a job. server: tells this log's jobs from those of other servers. strange: gets the
    lines that are none. Raises CostsError.

    CUPS writes a line per page with its copies, or lines with a running total, one per attempt: of those the highest
    counts. Media and sides are in the line where PageLogFormat ends with them, as by default.
    """
    jobs: dict[tuple[str, str, str], tuple[int, int, str, str, list[str]]] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                match = _LINE.match(line.rstrip("\n"))
                if not match or float(match[3]) > LAST_JOB or float(match[6]) > MOST_PAGES:
                    strange += [line.rstrip()[:200]] if line.strip() else []
                    continue
                printer, user, job, stamp, page, count, billing, rest = match.groups()
                at = _stamp(stamp)
                key = (printer, user, job)
                if (old := jobs.get(key)) and abs(at - old[0]) > 30 * 86_400:  # ids began anew
                    yield _import(server, key, old, site)
                    old = None
                pages = int(count)
                if old:
                    pages = max(old[1], pages) if page == "total" else old[1] + pages
                jobs[key] = (old[0] if old else at, pages, billing or "", rest, rest.split())
    except OSError as error:
        raise CostsError(f"{path} can't be read: {error.strerror}") from None
    if not jobs:
        raise CostsError(f"{path} holds no line as CUPS writes them into page_log by default")
    for key, found in jobs.items():
        yield _import(server, key, found, site)


def _stamp(text: str) -> int:
    """[22/Nov/2026:16:59:42 +0000], with or without microseconds. Raises CostsError."""
    with suppress(ValueError):
        found = datetime.strptime(re.sub(r"\.\d+", "", text), "%d/%b/%Y:%H:%M:%S %z")
        if found.year in YEARS:
            return int(found.timestamp())
    raise CostsError(f"{text!r} is no time as CUPS writes it into page_log")


def _import(server: str, key: tuple[str, str, str], found: tuple[int, int, str, str, list[str]], site: Site) -> Entry:
    printer, user, job = key
    at, pages, billing, _, words = found
    sides = next((word for word in words[-1:] if "sided" in word), "one-sided")
    medium = next((name for word in words[-2:] if (name := media.normal(word))), "")
    department = site.department(user)
    printed = Printed(at, printer, department, sides, (Part(medium, None, pages),) if pages else ())
    return Entry(
        key=f"import:{server}:{printer}:{job}:{at}",
        kind="import",
        at=at,
        day=number(site.tariff.local(at).date()),
        user=user,
        department=department,
        account=site.account(user, {"job-billing": billing}),
        printer=printer,
        node=server,
        job=int(job),
        pages=pages,
        sheets=printed.sheets,
        amount=micros(site.tariff.amount(printed)),
        origin=ESTIMATED,
        facts=facts(printed, billing="" if billing == "-" else billing),
    )


def fleet(store: Store, begin: date, last: date) -> dict[str, Any]:
    """What the nodes cost in a period, beside what was charged; idle capacity included. Hours are of nodes."""
    cost = running(store, begin, last + timedelta(days=1))
    printed = Ledger(store).total(begin, last + timedelta(days=1))
    pages = printed["pages"]
    return {
        "node_hours": round(cost.seconds / HOUR, 2),
        "printing_hours": round(cost.busy_seconds / HOUR, 2),
        "idle_share": round(max(0.0, 1 - cost.busy_seconds / cost.seconds), 3) if cost.seconds else None,
        "cost": shown(cost.amount),
        "pages": pages,
        "cost_per_page": shown(cost.amount // pages) if pages else None,
        "charged": shown(printed["amount"]),
        "hours_saved_by_scaling": round(cost.saved_seconds / HOUR, 2),
        "saved_by_scaling": shown(cost.saved),
    }
