"""What jobs cost, by hand-made prices and as rules that hold for any."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.config import Price
from controller.costs.rates import DEAREST, Part, Printed, Tariff, micros, money, shown

NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())
A4, A3 = "iso_a4_210x297mm", "iso_a3_297x420mm"


def printed(*parts: Part, sides: str = "one-sided", copies: int = 1, at: int = NOON, **who: str) -> Printed:
    return Printed(at, who.get("printer", "office"), who.get("department", ""), sides, parts, copies)


def tariff(*prices: dict[str, Any], **more: Any) -> Tariff:
    return Tariff(tuple(Price(**price) for price in prices), UTC, **more)


def test_the_first_price_that_fits_counts() -> None:
    site = tariff(
        {"colour": True, "per_page": "0.25"},
        {"media": ("iso_a3_*",), "per_page": "0.10"},
        {"per_page": "0.05"},
    )
    job = printed(Part(A4, True, 2), Part(A3, False, 3), Part(A4, False, 4))
    assert site.amount(job) == Decimal("0.50") + Decimal("0.30") + Decimal("0.20")


def test_pages_of_unknown_colour_cost_as_the_site_says() -> None:
    prices = ({"colour": True, "per_page": "0.25"}, {"per_page": "0.05"})
    job = printed(Part(A4, None, 2))
    assert tariff(*prices).amount(job) == Decimal("0.10")
    assert tariff(*prices, unknown_is_colour=True).amount(job) == Decimal("0.50")


@pytest.mark.parametrize(
    ("sides", "pages", "copies", "sheets"),
    [("one-sided", 5, 1, 5), ("two-sided-long-edge", 5, 1, 3), ("two-sided-long-edge", 10, 2, 6)],
)
def test_sheets_begin_anew_with_each_copy(sides: str, pages: int, copies: int, sheets: int) -> None:
    job = printed(Part(A4, False, pages), sides=sides, copies=copies)
    assert job.sheets == sheets
    assert tariff({"per_sheet": "0.01"}).amount(job) == Decimal("0.01") * sheets


@given(
    st.lists(st.builds(Part, st.sampled_from([A4, A3]), st.sampled_from([True, False]), st.integers(1, 9)), min_size=1),
    st.sampled_from(["one-sided", "two-sided-long-edge"]),
    st.integers(1, 4),
)
def test_as_many_sheets_are_paid_for_as_are_counted(parts: list[Part], sides: str, copies: int) -> None:
    """Whatever is on them: the amount can be worked out from the ledger's row."""
    job = printed(*parts, sides=sides, copies=copies)
    assert tariff({"per_sheet": "1"}).amount(job) == job.sheets
    assert all(sheets >= 0 for _, sheets in job.parts_with_sheets())


def test_a_page_in_colour_on_the_back_of_a_grey_one_pays_for_no_sheet_more() -> None:
    job = printed(Part(A4, False, 1), Part(A4, True, 1), sides="two-sided-long-edge")
    assert (job.sheets, tariff({"per_sheet": "0.01"}).amount(job)) == (1, Decimal("0.01"))


def test_a_price_per_job_and_a_minimum() -> None:
    site = tariff({"per_page": "0.01", "per_job": "0.02", "minimum": "0.10"})
    assert site.amount(printed(Part(A4, False, 1))) == Decimal("0.10")
    assert site.amount(printed(Part(A4, False, 20))) == Decimal("0.22")
    assert site.amount(printed()) == 0


def test_no_job_costs_more_than_the_ledger_can_add_up() -> None:
    assert tariff({"per_page": "999999999"}).amount(printed(Part(A4, False, 1_000_000))) == DEAREST


def test_hours_go_over_midnight_by_the_sites_clock() -> None:
    site = tariff({"hours": "18:00-06:00", "per_page": "0.01"}, {"per_page": "0.05"})
    for hour, cents in ((17, 5), (18, 1), (5, 1), (6, 5)):
        at = int(datetime(2026, 3, 2, hour, tzinfo=UTC).timestamp())
        assert site.amount(printed(Part(A4, False, 1), at=at)) == Decimal(cents) / 100


def test_departments_printers_and_sides_choose_a_price() -> None:
    site = tariff(
        {"departments": ("Chem*",), "per_page": "0.01"},
        {"printers": ("plot*",), "per_page": "1"},
        {"sides": "two-sided", "per_page": "0.03"},
        {"per_page": "0.05"},
    )
    page = Part(A4, False, 1)
    assert site.amount(printed(page, department="chemistry")) == Decimal("0.01")
    assert site.amount(printed(page, printer="plotter")) == Decimal(1)
    assert site.amount(printed(page, sides="two-sided-short-edge")) == Decimal("0.03")
    assert site.amount(printed(page)) == Decimal("0.05")


def test_a_new_list_replaces_the_old_one_from_its_day_on() -> None:
    site = tariff({"per_page": "0.05"}, {"since": date(2026, 3, 3), "per_page": "0.06"})
    page = Part(A4, False, 1)
    assert site.amount(printed(page)) == Decimal("0.05")
    assert site.amount(printed(page, at=NOON + 86_400)) == Decimal("0.06")


def test_a_job_before_all_prices_is_free() -> None:
    assert tariff({"since": date(2027, 1, 1), "per_page": "0.05"}).amount(printed(Part(A4, False, 1))) == 0


@given(st.decimals(0, 10**8, places=6))
def test_money_comes_back_from_the_ledger_as_it_went_in(amount: Decimal) -> None:
    assert money(micros(amount)) == amount


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=5), st.decimals(0, 10, places=4))
def test_pages_in_parts_cost_as_much_as_together(pages: list[int], price: Decimal) -> None:
    site = tariff({"per_page": price})
    apart = printed(*(Part(f"custom_{number}", False, count) for number, count in enumerate(pages)))
    assert site.amount(apart) == site.amount(printed(Part(A4, False, sum(pages)))) == price * sum(pages)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00"), (35_000, "0.035"), (100_000, "0.10"), (-1_500_000, "-1.50"), (1, "0.000001")]
)
def test_amounts_as_people_read_them(value: int, text: str) -> None:
    assert shown(value) == text
