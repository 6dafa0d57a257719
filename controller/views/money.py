"""What was printed and what it cost: every sum is exactly the ledger's. Amounts are Decimal, in the site's currency."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from typing import Any

from controller.costs.charge import remark_of
from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import money
from controller.costs.rules import Rules, published
from controller.costs.running import running
from controller.costs.standing import Standing, limits
from controller.store import Store

HOUR, DAY = 3600.0, 86_400.0


def today(store: Store, now: float, zone: tzinfo | None) -> dict[str, Any]:
    """jobs, pages and cost since the last midnight of `zone` (None: the machine's)."""
    local = datetime.fromtimestamp(now, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    found = Ledger(store).over_time(midnight.timestamp(), now + DAY)
    return {
        "jobs": sum(row["jobs"] for row in found),
        "pages": sum(row["pages"] for row in found),
        "cost": money(sum(row["amount"] for row in found)),
    }


def printed(store: Store, since: float, until: float) -> list[dict[str, Any]]:
    """jobs, pages and cost of each quarter of an hour (`at`, its beginning) in which something was printed."""
    found = Ledger(store).over_time(since, until)
    return [
        {"at": row["at"], "jobs": row["jobs"], "pages": row["pages"], "cost": money(row["amount"])} for row in found
    ]


def costs(
    store: Store, by: str, since: date, until: date, limit: int, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    found = Ledger(store).sums(by, since, until, names, limit)
    return [{**row, "name": _name(by, row["name"]), "amount": money(row["amount"])} for row in found]


def _name(by: str, name: Any) -> str:
    return f"{str(name)[:4]}-{str(name)[4:]}" if by == "month" else str(name)


def total(store: Store, since: date, until: date) -> dict[str, Any]:
    found = Ledger(store).total(since, until)
    return {**found, "amount": money(found["amount"])}


def cost_rows(
    store: Store, since: date, until: date, names: Mapping[str, str], limit: int, offset: int
) -> list[dict[str, Any]]:
    return [_entry(one) for one in Ledger(store).newest(since, until, names, limit, offset)]


def _entry(one: Entry) -> dict[str, Any]:
    shown = ("key", "kind", "at", "user", "department", "account", "printer", "node", "job", "title", "pages", "sheets")
    row = {name: getattr(one, name) for name in (*shown, "colour_pages", "origin")}
    return {**row, "amount": money(one.amount), "remark": remark_of(one)}


def costs_of(store: Store, user: str, since: date, until: date) -> dict[str, Any]:
    """jobs, pages and amount that a person was charged, and the balance of what the person paid in."""
    ledger = Ledger(store)
    found = ledger.charged(user, since, until)
    return {**found, "amount": money(found["amount"]), "balance": money(ledger.balance(user))}


def currency(store: Store) -> str:
    return _rules(store).costs.currency


def limits_of(store: Store, user: str) -> list[dict[str, Any]]:
    return list(limits(store, user, _rules(store)))


def quotas(store: Store) -> list[dict[str, Any]]:
    """Those of the configuration: who (users, departments, or everybody), per, pages and amount (None: no limit)."""
    return [
        {
            "who": " in ".join(", ".join(names) for names in (quota.users, quota.departments) if names) or "everybody",
            "per": quota.per,
            "pages": quota.pages,
            "amount": quota.amount,
        }
        for quota in _rules(store).costs.quotas
    ]


def shared_accounts(store: Store) -> list[dict[str, Any]]:
    """name, who may use it, and the balance of what was paid in for it."""
    standing = Standing(store)
    return [
        {
            "name": one.name,
            "who": ", ".join((*one.users, *one.departments)) or "everybody",
            "balance": money(standing.balance(one.name, shared=True)),
        }
        for one in _rules(store).costs.shared_accounts
    ]


def _rules(store: Store) -> Rules:
    return published(store) or Rules()


def idle_cost(store: Store, since: date, until: date) -> dict[str, Any]:
    """What nodes cost while nothing printed on them, from `since` to before `until`.

    cost: of all node-hours. idle: the part of it in which no job printed, day by day. saved: what the nodes would have
    cost besides, had nodes.max of them run all the time. Hours are of nodes; those that no controller saw are missing.
    """
    cost = running(store, since, until)
    return {
        "cost": money(cost.amount),
        "idle": money(cost.idle),
        "saved": money(cost.saved),
        "node_hours": cost.seconds / HOUR,
        "printing_hours": cost.busy_seconds / HOUR,
        "saved_hours": cost.saved_seconds / HOUR,
    }
