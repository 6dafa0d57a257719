"""Who belongs to which department, and the site's rules as the ledger needs them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from controller.config import Costs
from controller.config_values import zone_named
from controller.costs.charge import Site
from controller.costs.rates import DEAREST, Tariff, micros

COLUMNS = ("user", "department", "opening_balance")


class PeopleError(Exception):
    """The file of accounts can't be used; the message says where and what is allowed."""


@dataclass(frozen=True)
class Person:
    user: str
    department: str = ""
    opening: int = 0
    """What the person had when the books were opened, in millionths of the currency."""


@dataclass
class People:
    """The file of accounts, read again when it changes. A mistake in it leaves the last good one in force."""

    problem: str = ""
    _known: Mapping[str, Person] = field(default_factory=dict)
    _stamp: object = None

    def known(self, path: Path | None) -> Mapping[str, Person]:
        stamp = (path, _look(path))
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._known, self.problem = read(path) if path else {}, ""
            except PeopleError as error:
                self.problem = str(error)
        return self._known


def _look(path: Path | None) -> object:
    try:
        found = path.stat() if path else None
    except OSError:
        return "missing"
    return (found.st_mtime_ns, found.st_size) if found else None


def read(path: Path) -> dict[str, Person]:
    """The people in a file of accounts, by name. Raises PeopleError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if "user" not in (rows.fieldnames or ()) or set(rows.fieldnames or ()) - set(COLUMNS):
                raise PeopleError(f"{path}: the first line must name the columns: {', '.join(COLUMNS)}")
            people = [_person(path, rows.line_num, row) for row in rows]
    except OSError as error:
        raise PeopleError(f"{path} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PeopleError(f"{path} is not CSV in UTF-8: {error}") from None
    found: dict[str, Person] = {}
    for one in people:
        if one.user in found:
            raise PeopleError(f"{path}: {one.user!r} stands there twice, allowed is once")
        found[one.user] = one
    return found


def _person(path: Path, line: int, row: Mapping[str, str | None]) -> Person:
    user, opening = (row.get("user") or "").strip(), (row.get("opening_balance") or "0").strip()
    if not user:
        raise PeopleError(f"{path}, line {line}: the user is missing")
    with suppress(InvalidOperation):
        if abs(amount := Decimal(opening or "0")) < DEAREST:
            return Person(user, (row.get("department") or "").strip(), micros(amount))
    raise PeopleError(f"{path}, line {line}: opening_balance is {opening!r}, allowed is a number such as 20 or 12.50")


def tariff_of(costs: Costs) -> Tariff:
    return Tariff(costs.prices, zone_named(costs.time_zone), costs.unknown_colour == "colour")


def site_of(costs: Costs, people: Mapping[str, Person] | None = None) -> Site:
    """The site's rules. people: read from costs.accounts when they are not given."""
    known = people if people is not None else read(costs.accounts) if costs.accounts else {}
    return site_with(costs, {one.user: one.department for one in known.values()})


def site_with(costs: Costs, departments: Mapping[str, str]) -> Site:
    return Site(tariff_of(costs), departments, costs.unknown_pages, costs.shared_accounts)
