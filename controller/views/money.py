"""What was printed and what it cost: every sum is exactly the ledger's. Amounts are Decimal, in the site's currency."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from typing import Any

from controller.costs.charge import remark_of
from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import money
from controller.costs.rules import Rules, published
from controller.costs.standing import Standing, limits
from controller.costs.sums import number
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
    days = store.rows("select * from fleet_costs where day >= ? and day < ?", [number(since), number(until)])
    running, busy, most = (sum(day[name] for day in days) for name in ("node_seconds", "busy_seconds", "most_seconds"))
    return {
        "cost": money(sum(day["amount"] for day in days)),
        "idle": money(sum(int(day["amount"] * _idle_share(day)) for day in days)),
        "saved": money(sum(int(day["amount"] * _saved_share(day)) for day in days)),
        "node_hours": running / HOUR,
        "printing_hours": busy / HOUR,
        "saved_hours": max(0.0, most - running) / HOUR,
    }


def _idle_share(day: Mapping[str, Any]) -> float:
    return max(0.0, 1 - day["busy_seconds"] / day["node_seconds"]) if day["node_seconds"] else 1.0


def _saved_share(day: Mapping[str, Any]) -> float:
    return max(0.0, day["most_seconds"] / day["node_seconds"] - 1) if day["node_seconds"] else 0.0
