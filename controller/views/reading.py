"""The reading side: answers about one state folder, each with its age."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from controller.diary import told
from controller.jobs.table import JobTable
from controller.state import State
from controller.store import Store

STALE_AFTER = 5.0
"""Seconds without a pass after which the controller is reported as missing, beyond its own interval."""


@dataclass(frozen=True)
class Views:
    """Answers about one state folder, also while no controller runs."""

    state: State
    store: Store

    def status(self) -> dict[str, Any]:
        """The whole fleet: what was last seen, and how old that is."""
        sight = self.store.fact("sight")
        pid = self.state.controller()
        if sight is None:
            sight = {"at": None, "nodes": [], "problems": [], "printers": [], "scaling": {}, "door": {}}
        age = None if sight["at"] is None else max(0.0, time.time() - sight["at"])
        door = sight["door"]
        base = f"{door['name']}:{door['port']}" if door else None
        queue = sight["printers"][0] if sight["printers"] else ""
        return {
            "front_door": {"url": f"ipps://{base}/printers/{queue}" if base else None, "port": door.get("port")},
            "dashboard": {"url": f"https://{base}/fleet/" if base else None},
            "printers": sight["printers"],
            "controller": {"pid": pid, "seen": sight["at"], "age": age},
            "nodes": sight["nodes"],
            "scaling": {**sight["scaling"], **sight.get("limits", {})},
            "price_per_hour": sight.get("price_per_hour", "0"),
            "queue_depth": sum(node["open_jobs"] or 0 for node in sight["nodes"]),
            "problems": [*self._machine_problems(pid, age, sight), *sight["problems"]],
        }

    def nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.status()["nodes"]
        return nodes

    def jobs(
        self, which: str = "open", user: str = "", printer: str = "", node: str = "", limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Accepted jobs (controller/jobs/table.py): `which` is open (oldest first), ended or all (newest first)."""
        found = JobTable(self.store).search(which, user, printer, node, limit)
        return [{**asdict(job), "slot": job.slot} for job in found]

    def explain(self, limit: int = 10) -> list[dict[str, Any]]:
        """The last passes that decided something, newest first: when, what and why."""
        return [{"at": row["at"], "decided": row["sentence"]} for row in self.store.passes(limit)]

    def scalings(self, limit: int = 10, until: float | None = None) -> list[dict[str, Any]]:
        """What was decided about the fleet's size, newest first (controller/diary.py: told)."""
        return told(self.store, limit, until)

    def events(self, limit: int = 50) -> list[dict[str, Any]]:
        return self.store.events(limit)

    def commands(self, limit: int = 10) -> list[dict[str, Any]]:
        return self.store.commands(limit)

    def _machine_problems(self, pid: int | None, age: float | None, sight: dict[str, Any]) -> list[str]:
        """What keeps everybody from working, looked at from here: a controller that can't write can't say so."""
        said = self._controller_problems(pid, age, sight)
        lacking = [found] if (found := self.state.lacks_room()) else []
        locked = [found] if said and (found := self.store.trouble()) else []
        return [*said, *lacking, *locked]

    def _controller_problems(self, pid: int | None, age: float | None, sight: dict[str, Any]) -> list[str]:
        """What is wrong with the one that should look after all this."""
        failing = self.store.fact("failing")
        why = [f"the controller says: {failing}"] if failing and pid is not None else []
        log = f"its log is {self.state.logs / 'controller.log'}, or the terminal that it was started in"
        if pid is None and sight.get("stopped"):
            return ["the fleet is stopped; start it with: cupsfleet up"]
        if age is None:
            return ["the controller has not looked at the fleet yet", *why]
        if pid is None:
            return [f"no controller runs; printing goes on, nothing is repaired. What you see is {age:.0f} s old"]
        if age > sight["interval"] + STALE_AFTER:
            return [f"the controller (process {pid}) has not reported for {age:.0f} s; {log}", *why]
        return []  # a pass was finished a moment ago, so whatever failed before is over
