"""Who belongs to which department, and the site's rules as the ledger needs them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from controller.config import Costs
from controller.costs.charge import Site
from controller.costs.rates import Tariff


def tariff_of(costs: Costs) -> Tariff:
    zone = ZoneInfo(costs.time_zone) if costs.time_zone else None
    return Tariff(costs.prices, zone, costs.unknown_colour == "colour")


def site_of(costs: Costs) -> Site:
    """The site's rules."""
    return Site(tariff_of(costs), unknown_pages=costs.unknown_pages)
