"""What is used of limits: what was charged, and what was let through and is not charged yet (gate.py). What is held."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from controller.costs.attempts import Attempt
from controller.costs.backend import OTHER_REFUSAL, REFUSALS
from controller.costs.collect import attempt_of
from controller.costs.ledger import Ledger
from controller.costs.quota import Used, own_quotas, period
from controller.costs.rates import micros, shown
from controller.costs.rules import Rules
from controller.store import Store


@dataclass(frozen=True)
class Standing:
    """but: the job-uuid of a job, and which of its documents, that is left out of what was let through."""

    store: Store
    but: tuple[str, int] = ("", 0)

    def used(self, user: str, begin: date, end: date) -> Used:
        """By a person from a day to before another, on the own account."""
        charged, waiting = Ledger(self.store).charged(user, begin, end), self._let_through(user, "")
        return Used(charged["pages"] + waiting.pages, charged["amount"] + waiting.amount)

    def balance(self, name: str, shared: bool = False) -> int:
        """What is left to a person, or to a shared account, of what was paid in; in millionths."""
        waiting = self._let_through("", name) if shared else self._let_through(name, "")
        return Ledger(self.store).balance(name, shared) - waiting.amount

    def _let_through(self, user: str, account: str) -> Used:
        who, name = ("account = ?", account) if account else ("account = '' and user = ?", user)
        sql = (
            "select coalesce(sum(pages), 0) as pages, coalesce(sum(amount), 0) as amount from let_through "
            f"where {who} and (uuid, document) != (?, ?) "
            "and not exists (select 1 from ledger where key = 'job:' || uuid)"
        )
        return Used(**self.store.rows(sql, [name, *self.but])[0])


def refused(store: Store, uuids: Iterable[str]) -> dict[str, Attempt]:
    """Of these jobs those whose newest attempt was refused for their account's sake, with that attempt."""
    sql = "select key, record, max(ended) from attempts where key in (select value from json_each(?)) group by key"
    found = {row["key"]: attempt_of(row["record"]) for row in store.rows(sql, [json.dumps(list(uuids))])}
    return {uuid: attempt for uuid, attempt in found.items() if attempt and attempt.held}


def why_held(store: Store, uuids: Iterable[str]) -> dict[str, str]:
    """The same in the words that the node told the owner."""
    return {uuid: REFUSALS.get(one.held, OTHER_REFUSAL) for uuid, one in refused(store, uuids).items()}


LIMIT_COLUMNS = ("what", "per", "allowed", "used", "left")


def limits(store: Store, user: str, rules: Rules) -> Iterator[dict[str, Any]]:
    """What a person may still print, a row for each limit: LIMIT_COLUMNS. what: `pages` or the currency, per: a period,
    or '' for the rest of what was paid in, where only that can be printed."""
    standing, today, currency = Standing(store), rules.site.tariff.today(), rules.costs.currency
    if rules.costs.prepaid:
        left = shown(standing.balance(user))
        yield {"what": currency, "per": "", "allowed": None, "used": None, "left": left}
    for quota in own_quotas(rules.costs.quotas, user, rules.site):
        used = standing.used(user, *period(quota.per, today))
        if quota.pages is not None:
            left_pages = max(0, quota.pages - used.pages)
            of = {"allowed": quota.pages, "used": used.pages, "left": left_pages}
            yield {"what": "pages", "per": quota.per, **of}
        if quota.amount is not None:
            most = micros(quota.amount)
            money = {"allowed": most, "used": used.amount, "left": max(0, most - used.amount)}
            yield {"what": currency, "per": quota.per, **{name: shown(value) for name, value in money.items()}}
