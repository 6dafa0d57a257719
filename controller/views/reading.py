"""The reading side: answers about one state folder, each with its age."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, tzinfo
from functools import lru_cache
from typing import Any

from controller import samples
from controller.config import Nodes
from controller.costs.standing import why_held
from controller.diary import in_words, told
from controller.jobs.table import JobTable
from controller.simulate.trial import Trials, starts_in, trials
from controller.state import State
from controller.store import Store, StoreError
from controller.views import money, past, work
from controller.views.phrases import lasting
from controller.views.thresholds import THRESHOLDS

STALE_AFTER = 5.0
"""Seconds without a pass after which the controller is reported as missing, beyond its own interval."""


@lru_cache(maxsize=2)
def _sight(text: str | None) -> dict[str, Any]:
    """What was published. It is half a megabyte for a large fleet, and read by every part of every open page, far more
    often than it changes. Shared by all of them: nobody may change it. Raises ValueError."""
    if text is None:
        return {"at": None, "nodes": [], "problems": [], "printers": [], "scaling": {}, "door": {}}
    found: dict[str, Any] = json.loads(text)
    return found


@dataclass(frozen=True)
class Views:
    """Answers about one state folder, also while no controller runs. What they give is not to be changed."""

    state: State
    store: Store

    def status(self) -> dict[str, Any]:
        """The whole fleet: what was last seen, and how old that is."""
        sight, pid = self._sight(), self.state.controller()
        age = None if sight["at"] is None else max(0.0, time.time() - sight["at"])
        door, said = sight["door"], self._controller_problems(pid, age, sight)
        base = f"{door['name']}:{door['port']}" if door else None
        queue = sight["printers"][0] if sight["printers"] else ""
        return {
            "front_door": {"url": f"ipps://{base}/printers/{queue}" if base else None, "port": door.get("port")},
            "dashboard": {"url": f"https://{base}/fleet/" if base else None},
            "printers": sight["printers"],
            "standing": sight.get("standing", []),
            "over_limit": sight.get("over_limit", 0),
            "stopped": sight.get("stopped", False),
            "controller": {"pid": pid, "seen": sight["at"], "age": age, "silent": bool(said)},
            "nodes": list(sight["nodes"]),
            "scaling": {**sight["scaling"], **sight.get("limits", {})},
            "price_per_hour": sight.get("price_per_hour", "0"),
            "queue_depth": sum(node["open_jobs"] or 0 for node in sight["nodes"]),
            "problems": [*said, *self._machine_problems(bool(said)), *sight["problems"]],
        }

    def nodes(self) -> list[dict[str, Any]]:
        return list(self._sight()["nodes"])

    def _sight(self) -> dict[str, Any]:
        try:
            return _sight(self.store.fact_text("sight"))
        except ValueError as error:
            raise StoreError(f"{self.store.path}: the database holds what can't be understood: {error}") from None

    def accepted(
        self, which: str = "open", user: str = "", printer: str = "", node: str = "", limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Jobs as the command line lists them (controller/jobs/table.py): `which` is open (oldest first), ended or all
        (newest first)."""
        found = JobTable(self.store).search(which, user, printer, node, limit)
        held = why_held(self.store, [job.uuid for job in found if job.state == "held"])
        said = (
            {"slot": job.slot, "reasons": job.told_reasons, "why": job.why or held.get(job.uuid, "")} for job in found
        )
        return [{**asdict(job), **more} for job, more in zip(found, said, strict=True)]

    # Work

    def jobs(
        self, printer: str = "", user: str = "", state: str = "", limit: int = 100, offset: int = 0, node: str = ""
    ) -> list[dict[str, Any]]:
        """Everybody's jobs, for administrators: uuid, id, printer, user, node, title, state, reasons, why, size (KB),
        created_at, waiting (seconds until its first page, or until now).

        state: `open` (so when left out), `ended`, `all`, or a single one of controller/jobs/table.py. Open ones come
        oldest first, others newest first.
        """
        return work.jobs(self.store, printer, user, state, limit, offset, node)

    def jobs_of(self, user: str, state: str = "", limit: int = 100, offset: int = 0) -> list[dict[str, Any]]:
        """A person's own jobs, as `jobs` without user and node, with pages and cost (Decimal; None while it is not
        charged) and account (the shared one that pays, or '')."""
        return work.jobs_of(self.store, user, state, limit, offset)

    def job(self, uuid: str) -> dict[str, Any] | None:
        """One job, as a row of `jobs`; None where there is none of this uuid."""
        return work.job(self.store, uuid)

    def open_by(self, name: str) -> list[dict[str, Any]]:
        """Open jobs by `queue`, `owner` or `node`, as controller/jobs/table.py: JobTable.open_by."""
        return JobTable(self.store).open_by(name)

    def job_counts(self) -> dict[str, int]:
        """How many open jobs are pending, held, processing and stopped."""
        return work.counts(self.store)

    def wait_ahead(self) -> float | None:
        """Seconds until the last waiting job starts, by measured times; None when a node with jobs is silent."""
        return work.wait_ahead(self.store, self.nodes())

    def finish(self, node: str) -> float | None:
        """Seconds until a node's open jobs are finished; None when that can't be known, or takes somebody's hand."""
        found = next((row for row in self.nodes() if row["name"] == node), None)
        return work.finish(found) if found else None

    # Money: amounts are Decimal in the site's currency, and each sum is exactly the ledger's

    def today(self, now: float, zone: tzinfo | None = None) -> dict[str, Any]:
        """jobs, pages and cost since midnight in `zone` (None: this machine's). now: seconds since 1970."""
        return money.today(self.store, now, zone)

    def printed(self, since: float, until: float) -> list[dict[str, Any]]:
        """at, jobs, pages and cost of each quarter of an hour in which something was printed."""
        return money.printed(self.store, since, until)

    def costs(self, by: str, since: date, until: date, limit: int = -1, **names: str) -> list[dict[str, Any]]:
        """name, jobs, pages, sheets, colour_pages and amount from `since` to before `until`, the dearest first.

        by: user, department, account, printer or month (those in their order). names: what a column must have, such
        as user="alice".
        """
        return money.costs(self.store, by, since, until, limit, names)

    def cost_total(self, since: date, until: date) -> dict[str, Any]:
        """The same sums of everything."""
        return money.total(self.store, since, until)

    def cost_rows(
        self, since: date, until: date, limit: int = 100, offset: int = 0, **names: str
    ) -> list[dict[str, Any]]:
        """The ledger's entries behind a sum, newest day first, with the origin of each page count."""
        return money.cost_rows(self.store, since, until, names, limit, offset)

    def costs_of(self, user: str, since: date, until: date) -> dict[str, Any]:
        """What a person was charged: jobs, pages, amount, and the balance of what was paid in."""
        return money.costs_of(self.store, user, since, until)

    def currency(self) -> str:
        """What amounts are in."""
        return money.currency(self.store)

    def limits_of(self, user: str) -> list[dict[str, Any]]:
        """What a person may still print (controller/costs/standing.py: limits)."""
        return money.limits_of(self.store, user)

    def quotas(self) -> list[dict[str, Any]]:
        """who, per, pages and amount (None: not limited) of each quota of the configuration."""
        return money.quotas(self.store)

    def shared_accounts(self) -> list[dict[str, Any]]:
        """name, who and balance of each shared account."""
        return money.shared_accounts(self.store)

    def idle_cost(self, since: date, until: date) -> dict[str, Any]:
        """cost, idle and saved, node_hours, printing_hours and saved_hours (controller/views/money.py)."""
        return money.idle_cost(self.store, since, until)

    # The past

    def series(self, since: float, until: float, points: int = 200) -> list[dict[str, Any]]:
        """at, queue_depth, ready, nodes, wait_p95 (s or None) and cost_per_hour (Decimal), about so many points."""
        return samples.series(self.store, since, until, points)

    def probes(self, node: str, limit: int = 50) -> list[dict[str, Any]]:
        """What a node lately answered, newest first (controller/samples.py)."""
        return samples.probes(self.store, node, limit)

    def scaling(self) -> dict[str, Any]:
        """thresholds (controller/views/thresholds.py); decided: the last decision about the fleet's size, or None;
        words: the same in lines, as `explain` has them."""
        found = self.scalings(1)
        words = in_words(found[0]) if found else []
        decided = found[0] if found else None
        return {"thresholds": self.store.fact(THRESHOLDS) or [], "decided": decided, "words": words}

    def starts_in(self) -> float:
        """Seconds that a new node takes to start, as measured, or as is usual (controller/simulate/trial.py)."""
        return starts_in(self.store, Nodes().driver)

    def trials(self, seconds: float, changes: Mapping[str, Any], start_up: float) -> Trials:
        """What the present thresholds would have done, and changed ones (controller/simulate/trial.py: trials)."""
        return trials(self.store, seconds, self.scaling()["thresholds"], changes, start_up)

    def happened(self, limit: int = 50) -> list[dict[str, Any]]:
        """The last events, newest first: at, kind, node, text."""
        return self.store.events(limit)

    def history(self, node: str, limit: int = 50) -> list[dict[str, Any]]:
        """What happened to a node, newest first: at, kind, text."""
        return past.history(self.store, node, limit)

    def log_tail(self, node: str, lines: int = 50) -> list[str]:
        """The last lines of a node's error_log; [] where it has none on this machine."""
        return past.log_tail(self.state, node, lines)

    def explain(self, limit: int = 10) -> list[dict[str, Any]]:
        """The last passes that decided something, newest first: when, what and why."""
        return [{"at": row["at"], "decided": row["sentence"]} for row in self.store.passes(limit)]

    def scalings(self, limit: int = 10, until: float | None = None) -> list[dict[str, Any]]:
        """What was decided about the fleet's size, newest first (controller/diary.py: told)."""
        return told(self.store, limit, until)

    def events(
        self,
        since: float | None = None,
        until: float | None = None,
        text: str = "",
        limit: int = 50,
        offset: int = 0,
        kinds: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Decisions and commands: total, and rows (newest first) of at, kind, node, text, who, state, outcome.

        text: is searched for in all of them. kinds: only these, such as `order`, `leave`, `command`.
        """
        return past.events(self.store, since, until, text, limit, offset, kinds)

    def commands(self, limit: int = 10) -> list[dict[str, Any]]:
        return self.store.commands(limit)

    def _machine_problems(self, silent: bool) -> list[str]:
        """What keeps everybody from working, looked at from here: a controller that can't write can't say so."""
        lacking = [found] if (found := self.state.lacks_room()) else []
        locked = [found] if silent and (found := self.store.trouble()) else []
        return [*lacking, *locked]

    def _controller_problems(self, pid: int | None, age: float | None, sight: dict[str, Any]) -> list[str]:
        """What is wrong with the one that should look after all this."""
        failing = self.store.fact("failing")
        why = [f"the controller says: {failing}"] if failing and pid is not None else []
        log = f"its log is {self.state.logs / 'controller.log'}, or the terminal that it was started in"
        if pid is None and sight.get("stopped"):
            return [f"the fleet is stopped; start it with: ./cupsfleet up --state {self.state.folder}"]
        if age is None:
            return ["the controller has not looked at the fleet yet", *why]
        if pid is None:
            start = f"start it with: ./cupsfleet up --state {self.state.folder}"
            return [f"no controller runs; people print on, what dies stays dead; {start} (seen {lasting(age)} ago)"]
        if age > sight["interval"] + STALE_AFTER:
            return [f"the controller (process {pid}) has not reported for {age:.0f} s; {log}", *why]
        return []  # a pass was finished a moment ago, so whatever failed before is over
