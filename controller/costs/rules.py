"""The rules about money that are in force, written down by the controller for those who read the ledger.

The command line and the dashboard run with another environment than the controller, and often without its fleet.toml.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache

from controller.config import Costs
from controller.costs.charge import Site
from controller.costs.people import site_with
from controller.store import Store

RULES = "costs"


@dataclass(frozen=True)
class Rules:
    costs: Costs = field(default_factory=Costs)
    site: Site = field(default_factory=Site)


def publish(store: Store, rules: Rules) -> None:
    """Raises StoreError."""
    departments, before = dict(rules.site.departments), published(store)
    was, now = before.costs.currency if before else "", rules.costs.currency
    with store.transaction():
        if was and was != now:
            store.event("costs", f"amounts are in {now} from now on; those of before were {was} and are not converted")
        store.put_fact(RULES, {"costs": rules.costs.model_dump(mode="json"), "departments": departments})


def published(store: Store) -> Rules | None:
    """None where no controller has written any, or one of another version. Raises StoreError."""
    return _read(store.fact_text(RULES))


@lru_cache(maxsize=2)
def _read(text: str | None) -> Rules | None:
    """Asked for by every part of every open page, and seldom another one."""
    if text is None:
        return None
    try:
        value = json.loads(text)
        costs = Costs.model_validate(value["costs"])
        return Rules(costs, site_with(costs, {str(name): str(of) for name, of in value["departments"].items()}))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
