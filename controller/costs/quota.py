"""Whether a job may be printed: pure, from the site's limits and from what was used already.

Answers are job-state-reasons as IPP knows them. The owner reads it in job-printer-state-message; in job-state-reasons
CUPS 2.4 overwrites what a backend says when it holds the job (scheduler/job.c: cupsdSetJobHoldUntil).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from controller.config import Costs, Quota
from controller.costs.charge import Site, fits, named_accounts
from controller.costs.rates import micros

LIMIT, NEEDED, FAILED = "account-limit-reached", "account-info-needed", "account-authorization-failed"


@dataclass(frozen=True)
class Wish:
    """A job that wants to be printed. amount: millionths of the currency."""

    uuid: str
    user: str
    pages: int
    amount: int
    options: tuple[tuple[str, str], ...] = ()
    documents: int = 1
    """How many documents the job has of which this is one, if each is asked for by itself."""


@dataclass(frozen=True)
class Used:
    """What somebody has printed in a period, or is about to."""

    pages: int = 0
    amount: int = 0


def refusal(
    wish: Wish,
    costs: Costs,
    site: Site,
    used: Callable[[date, date], Used],
    balance: Callable[[str, bool], int],
    today: date,
) -> str:
    """Why the job must be held, or ''.

    used: what its owner printed from a day to before another, on the own account. balance: what is left to a person,
    or to a shared account; jobs that are let through and not charged yet are taken off in both.
    """
    options = dict(wish.options)
    named = named_accounts(options)
    shared = site.account(wish.user, options)
    if costs.account_required and not named:
        return NEEDED
    if not shared and (costs.account_required or any(one.name in named for one in costs.shared_accounts)):
        return FAILED
    if costs.prepaid and balance(shared or wish.user, bool(shared)) < wish.amount:
        return LIMIT
    over = (_over(quota, wish, used(*period(quota.per, today))) for quota in own_quotas(costs.quotas, wish.user, site))
    return LIMIT if not shared and any(over) else ""


def own_quotas(quotas: Iterable[Quota], user: str, site: Site) -> list[Quota]:
    """Those that fit a person: each list that is given must."""
    department = site.department(user)
    return [
        quota
        for quota in quotas
        if (not quota.users or fits(quota.users, user))
        and (not quota.departments or fits(quota.departments, department))
    ]


def _over(quota: Quota, wish: Wish, used: Used) -> bool:
    pages = quota.pages is not None and used.pages + wish.pages > quota.pages
    return pages or (quota.amount is not None and used.amount + wish.amount > micros(quota.amount))


def period(per: str, today: date) -> tuple[date, date]:
    """The first day, and the one after the last, of the period that holds today."""
    if per == "day":
        return today, today + timedelta(days=1)
    if per == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    if per == "year":
        return date(today.year, 1, 1), date(today.year + 1, 1, 1)
    first = today.replace(day=1)
    return first, (first.replace(day=28) + timedelta(days=4)).replace(day=1)
