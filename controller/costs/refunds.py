"""Giving back what a job was charged: an entry of today, by whom and why. The job's own entries stay as they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import shown
from controller.costs.reports import CostsError
from controller.costs.sums import number


def refund(ledger: Ledger, key: str, amount: int | None, words: str, at: int, today: date) -> Entry:
    """Give back a job's pages and all that is left of its price, or so many millionths and no page.

    key: of a printed job's entry or an imported one's. words: who, and why. Call within a transaction; raises
    CostsError.
    """
    found = ledger.about(key)
    if not found:
        raise CostsError(f"nothing was charged for {key!r}; `cupsfleet costs jobs` shows the keys")
    left = {name: sum(getattr(one, name) for one in found) for name in ("pages", "sheets", "colour_pages", "amount")}
    if amount is not None:
        if not 0 < amount <= left["amount"]:
            raise CostsError(
                f"{shown(amount)} can't be given back, allowed is more than 0 and up to {shown(left['amount'])}"
            )
        left = {"pages": 0, "sheets": 0, "colour_pages": 0, "amount": amount}
    if not any(left.values()):
        raise CostsError(f"of {key} everything was given back already")
    made = replace(
        found[0],
        key=f"refund:{key}:{sum(one.kind == 'refund' for one in found) + 1}",
        kind="refund",
        at=at,
        day=number(today),
        origin="",
        facts=words,
        **{name: -value for name, value in left.items()},
    )
    ledger.write([made])
    return made
