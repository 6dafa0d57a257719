"""What printing costs: pure, from the site's prices and what is known of a job.

Money is Decimal here and a whole number of millionths in the ledger; nothing is ever a float.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase

from controller.config import Price

MICROS = 1_000_000
"""The ledger's unit: a millionth of the currency."""
DEAREST = Decimal(10**9)
"""No job costs more, and nobody pays in more at once: the database adds up whole numbers of 64 bits."""


@dataclass(frozen=True)
class Part:
    """Pages of a job that cost the same. pages: impressions, copies included. colour: None where it is not known."""

    medium: str
    colour: bool | None
    pages: int


@dataclass(frozen=True)
class Printed:
    """What was printed, as far as prices ask. at: seconds since 1970."""

    at: int
    printer: str
    department: str
    sides: str
    parts: tuple[Part, ...]
    copies: int = 1

    @property
    def pages(self) -> int:
        return sum(part.pages for part in self.parts)

    @property
    def sheets(self) -> int:
        """Each copy, and each change of medium, begins a new sheet."""
        return sum(sheets for _, sheets in self.parts_with_sheets())

    def parts_with_sheets(self) -> Iterator[tuple[Part, int]]:
        """Each part with the sheets that it adds to those of its medium: pages of another colour may stand on the back
        of one that is there already."""
        media: dict[str, int] = {}
        for part in self.parts:
            before = media.get(part.medium, 0)
            media[part.medium] = before + part.pages
            yield part, self._sheets(before + part.pages) - self._sheets(before)

    def _sheets(self, pages: int) -> int:
        """For so many pages of one medium. Copies that have a page more than the others come first."""
        if not self.sides.startswith("two-sided"):
            return pages
        copies = max(1, self.copies)
        each, longer = divmod(pages, copies)
        return (copies - longer) * _leaves(each) + longer * _leaves(each + 1)

    @property
    def colour_pages(self) -> int:
        return sum(part.pages for part in self.parts if part.colour)


def _leaves(pages: int) -> int:
    """Sheets for pages on both of their sides."""
    return (pages + 1) // 2


@dataclass(frozen=True)
class Tariff:
    """Prices with the site's clock and its choice for pages of which it is not known whether they are in colour."""

    prices: tuple[Price, ...] = ()
    zone: tzinfo | None = None
    """None is the machine's own."""
    unknown_is_colour: bool = False

    def local(self, at: int) -> datetime:
        return datetime.fromtimestamp(at, self.zone)

    def today(self) -> date:
        return datetime.now(self.zone).date()

    def amount(self, printed: Printed) -> Decimal:
        """What the job costs. Each part at the first price that fits it; of per_job and minimum the highest that
        any of them asks for. A job of no pages costs nothing."""
        if not printed.pages:
            return Decimal(0)
        when = self.local(printed.at)
        valid = self.valid_on(when)
        used = [
            (part.pages, sheets, price)
            for part, sheets in printed.parts_with_sheets()
            if (price := self._price(valid, part, printed, when))
        ]
        if not used:
            return Decimal(0)
        total = sum((pages * price.per_page + sheets * price.per_sheet for pages, sheets, price in used), Decimal(0))
        total += max(price.per_job for *_, price in used)
        return min(DEAREST, max(total, max(price.minimum for *_, price in used)))

    def valid_on(self, when: datetime) -> Sequence[Price]:
        """The prices of the newest list that is not of the future: all that share its date."""
        dates = [price.since for price in self.prices if price.since <= when.date()]
        return [price for price in self.prices if price.since == max(dates)] if dates else []

    def _price(self, valid: Iterable[Price], part: Part, printed: Printed, when: datetime) -> Price | None:
        colour = self.unknown_is_colour if part.colour is None else part.colour
        return next((price for price in valid if _fits(price, part, colour, printed, when)), None)


def _fits(price: Price, part: Part, colour: bool, printed: Printed, when: datetime) -> bool:
    return (
        _named(price.printers, printed.printer)
        and _named(price.departments, printed.department)
        and _named(price.media, part.medium)
        and price.colour in (None, colour)
        and (not price.sides or printed.sides.startswith(price.sides))
        and price.covers(when.time())
    )


def _named(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def micros(amount: Decimal) -> int:
    """Rounded half up, as tills do."""
    return int((amount * MICROS).to_integral_value(ROUND_HALF_UP))


def money(value: int) -> Decimal:
    return Decimal(value) / MICROS


def shown(value: int | None) -> str:
    """Millionths as people read them: two places, more only where they say something."""
    amount = money(value or 0)
    return str(amount.quantize(Decimal("0.01")) if amount == amount.quantize(Decimal("0.01")) else amount.normalize())
