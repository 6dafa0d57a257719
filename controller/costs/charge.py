"""What a job is charged for: pure, from its attempts, the job's end, and the site's prices.

A job is decided on once it has ended by its node's own word, and then by what its backend wrote down:

    printed whole                       the pages of the last attempt that was whole
    completed, no such attempt          its backend was killed: what the last one counted, else the pages for `unknown`;
                                        without our backend what the node says; all but `unknown` is `estimated`
    cancelled, aborted, lost            as far as the attempt got that got furthest (`estimated`, or `unknown` where the
                                        document could not be counted); nothing if none was begun. Without our backend
                                        what the node says that it had printed
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from controller.config import SharedAccount
from controller.costs import count
from controller.costs.attempts import Attempt
from controller.costs.count import media
from controller.costs.ledger import Entry
from controller.costs.rates import Part, Printed, Tariff, micros
from controller.costs.sums import number
from controller.jobs.table import Job

_DUPLEX = {"duplexnotumble": "two-sided-long-edge", "duplextumble": "two-sided-short-edge", "none": "one-sided"}
_GREY = ("gray", "grey", "black", "mono")


@dataclass(frozen=True)
class Site:
    """What the site says about its people and prices."""

    tariff: Tariff = field(default_factory=Tariff)
    departments: Mapping[str, str] = field(default_factory=dict)
    unknown_pages: int = 1
    shared: tuple[SharedAccount, ...] = ()

    def department(self, user: str) -> str:
        return self.departments.get(user, "")

    def account(self, user: str, options: Mapping[str, str]) -> str:
        """The shared account that pays for a job: one that it names and its owner may use; '' for none."""
        return next((name for name in named_accounts(options) if self.may_use(user, name)), "")

    def may_use(self, user: str, name: str) -> bool:
        found = next((one for one in self.shared if one.name == name), None)
        if found is None:
            return False
        anybody = not found.users and not found.departments
        return anybody or fits(found.users, user) or fits(found.departments, self.department(user))


def named_accounts(options: Mapping[str, str]) -> list[str]:
    """What a job says of who should pay (PWG 5100.3; job-billing is CUPS's own)."""
    return [name for name in (options.get("job-account-id", ""), options.get("job-billing", "")) if name]


def fits(patterns: Sequence[str], name: str) -> bool:
    """Whether one of the patterns is the name's; none are nobody's."""
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


@dataclass(frozen=True)
class Pages:
    """What is charged of a job, before it has a price."""

    parts: tuple[Part, ...]
    origin: str
    sides: str = "one-sided"
    copies: int = 1
    why: str = ""

    @property
    def pages(self) -> int:
        return sum(part.pages for part in self.parts)


def decided(job: Job, attempts: Sequence[Attempt], unknown_pages: int) -> Pages | None:
    """The pages of a job that has ended; None where nothing was printed. attempts: oldest first."""
    whole = [one for one in attempts if one.whole]
    if whole:
        last = whole[-max(1, whole[-1].separately) :]
        return _of_many([pages_of(one, unknown_pages) for one in last])
    if 0 < job.impressions <= count.MOST_PAGES and not attempts:
        return _plain(job.impressions, count.ESTIMATED)
    if job.state == "completed":
        begun = [one for one in attempts if not one.held]
        if not begun:
            return _plain(unknown_pages, count.UNKNOWN, "its server does not count")
        return _estimated(pages_of(next((one for one in reversed(begun) if one.count), begun[-1]), unknown_pages))
    started = [made for one in attempts if (made := _half_printed(one, job, unknown_pages)).pages]
    return max(started, key=lambda made: made.pages, default=None)


def _plain(pages: int, origin: str, why: str = "") -> Pages:
    return Pages((Part("", None, pages),) if pages else (), origin, why=why)


def pages_of(attempt: Attempt, unknown_pages: int) -> Pages:
    """What an attempt prints when it prints the whole document. unknown_pages: for one that could not be counted."""
    known = count.believed(attempt.known, attempt.copies)
    if known.origin == count.UNKNOWN and not attempt.reported:
        return Pages(_plain(unknown_pages, "").parts, count.UNKNOWN, sides(attempt), why=known.why)
    copies = attempt.copies * known.copies
    parts = tuple(
        Part(medium or media.normal(_medium(attempt)), _colour(attempt, colour), pages * copies)
        for (medium, colour), pages in known.parts.items()
    )
    made = Pages(_merged(parts), known.origin, sides(attempt), copies)
    if attempt.whole and made.sides.startswith("two-sided") and attempt.reported < made.pages:
        return made  # a printer that knows no impressions told its sheets (backend/ipp.c)
    if attempt.reported and attempt.reported != made.pages:
        return Pages(_as_many(made.parts, attempt.reported), count.PRINTER, made.sides, 1)
    return Pages(made.parts, count.PRINTER, made.sides, copies) if attempt.reported else made


def _half_printed(attempt: Attempt, job: Job, unknown_pages: int) -> Pages:
    """An attempt that was broken off: what the printer said, else the share of the document that was taken."""
    full = pages_of(attempt, unknown_pages)
    if attempt.reported:
        return full
    if full.origin == count.UNKNOWN and attempt.driver and 0 < job.impressions <= count.MOST_PAGES:
        return _plain(job.impressions, count.ESTIMATED)
    taken = math.ceil(full.pages * attempt.share)
    return replace(_estimated(full), parts=_as_many(full.parts, taken), copies=1)


def _estimated(pages: Pages) -> Pages:
    """As it is believed of an attempt that did not come to its end."""
    return replace(pages, origin=count.ESTIMATED) if pages.origin == count.COUNTED else pages


def _as_many(parts: Sequence[Part], pages: int) -> tuple[Part, ...]:
    """The first so many pages; what the parts lack is more of the last."""
    left, taken = pages, []
    for part in parts:
        if left > 0:
            taken.append(Part(part.medium, part.colour, min(left, part.pages)))
            left -= part.pages
    if left > 0:
        last = taken.pop() if taken else Part("", None, 0)
        taken.append(Part(last.medium, last.colour, last.pages + left))
    return tuple(taken)


def _merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    sums: dict[tuple[str, bool | None], int] = {}
    for part in parts:
        sums[part.medium, part.colour] = sums.get((part.medium, part.colour), 0) + part.pages
    return tuple(Part(medium, colour, pages) for (medium, colour), pages in sums.items())


def _of_many(each: Sequence[Pages]) -> Pages:
    if len(each) == 1:
        return each[0]
    worst = min((one.origin for one in each), key=(count.UNKNOWN, count.ESTIMATED, count.COUNTED, count.PRINTER).index)
    parts = _merged([part for one in each for part in one.parts])
    return Pages(parts, worst, each[0].sides, each[0].copies, next((one.why for one in each if one.why), ""))


def sides(attempt: Attempt) -> str:
    """The document's own word; else the job's, which a queue without a driver can only know by hearsay."""
    if attempt.known.sides:
        return attempt.known.sides
    duplex = _DUPLEX.get(attempt.options.get("Duplex", "").lower(), "")
    return attempt.options.get("sides") or duplex or "one-sided"


def _medium(attempt: Attempt) -> str:
    return attempt.options.get("media") or attempt.options.get("PageSize", "")


def _colour(attempt: Attempt, colour: bool | None) -> bool | None:
    """Options say something where a driver carries them out. CUPS makes up a print-color-mode for every job, and sends
    a printer of PDF the colours nevertheless, so it counts only where the document itself does not say."""
    model = attempt.options.get("ColorModel", "").lower()
    mode = model or ("" if colour is not None else attempt.options.get("print-color-mode", "").lower())
    if attempt.driver and any(word in mode for word in _GREY):
        return False
    return colour


def entry(job: Job, attempts: Sequence[Attempt], pages: Pages, site: Site) -> Entry:
    """The ledger's entry for a job."""
    ended = attempts[-1].ended if attempts else 0
    noticed = job.state == "lost"  # and not when it ended, which may have been yesterday
    at = int((ended if noticed else job.completed) or ended or job.completed or job.created)
    options = attempts[-1].options if attempts else {}
    department = site.department(job.owner)
    printed = Printed(at, job.queue, department, pages.sides, pages.parts, pages.copies)
    return Entry(
        key=f"job:{job.uuid}",
        kind="job",
        at=at,
        day=number(site.tariff.local(at).date()),
        user=job.owner,
        department=department,
        account=site.account(job.owner, options),
        printer=job.queue,
        node=job.node,
        job=job.id,
        title=job.title,
        pages=printed.pages,
        sheets=printed.sheets,
        colour_pages=printed.colour_pages,
        amount=micros(site.tariff.amount(printed)),
        origin=pages.origin,
        facts=facts(printed, pages.why, next(iter(named_accounts(options)), "")),
    )


def facts(printed: Printed, why: str = "", billing: str = "") -> str:
    """What a price needs to know, so that other prices can be tried on it; and what the job said of who should pay."""
    parts = [[part.medium, part.colour, part.pages] for part in printed.parts]
    value: dict[str, Any] = {"sides": printed.sides, "copies": printed.copies, "parts": parts}
    said = {name: text for name, text in (("why", why), ("billing", billing)) if text}
    return json.dumps(value | said, separators=(",", ":"))


def remark_of(made: Entry) -> str:
    """What was said of an entry: who gave back or paid in, and what for; why pages could not be counted."""
    if made.kind in ("deposit", "refund"):
        return made.facts
    try:
        return str(json.loads(made.facts).get("why", ""))
    except (ValueError, AttributeError):
        return ""


def printed_of(made: Entry) -> Printed:
    """Back from an entry. One without facts is taken as so many pages of which nothing is known."""
    try:
        value = json.loads(made.facts)
        parts = tuple(Part(str(medium), colour, int(pages)) for medium, colour, pages in value["parts"])
        return Printed(made.at, made.printer, made.department, str(value["sides"]), parts, int(value["copies"]))
    except (ValueError, KeyError, TypeError):
        part = (Part("", None, made.pages),) if made.pages else ()
        return Printed(made.at, made.printer, made.department, "one-sided", part)


def correction(old: Sequence[Entry], new: Entry) -> Entry | None:
    """The entry that turns what a job was charged into what it should have been; None where that is so already.

    old: the job's entry and its corrections. Prices of now do not change what was charged.
    """
    pages, sheets = sum(one.pages for one in old), sum(one.sheets for one in old)
    colour, amount = sum(one.colour_pages for one in old), sum(one.amount for one in old)
    if (pages, sheets, colour) == (new.pages, new.sheets, new.colour_pages):
        return None
    uuid = new.key.removeprefix("job:")
    changes = {"pages": new.pages - pages, "sheets": new.sheets - sheets, "colour_pages": new.colour_pages - colour}
    values = {**vars(new), **changes, "amount": new.amount - amount}
    first = old[0]
    return Entry(
        **{
            **values,
            "key": f"correction:{uuid}:{len(old)}",
            "kind": "correction",
            "user": first.user,
            "department": first.department,
            "account": first.account,
            "printer": first.printer,
        }
    )
