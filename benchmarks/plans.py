"""Which plans a controller is in the middle of, by what it has written down: so that it can be killed in each kind.

Every plan stands in the database, or on disk, before it is carried out. Who looks again when the controller was just
killed knows what it died in the middle of.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.event_words import happened
from haproxy.install import LOADED

MOVES = tuple(f"move, {phase}" for phase in ("ordered", "holding", "copying", "copied", "ending", "ended"))
KINDS = ("add", "restart", "drain", "retire", "rescue", "weight", "reload", *MOVES)
_NODES = """select case
    when state in ('ordered', 'starting', 'proving') and lives = 0 then 'add'
    when state in ('dead', 'starting', 'proving') then 'restart'
    when state = 'draining' and goal = 'retire' or state = 'leaving' then 'retire'
    when state = 'draining' then 'drain'
    else 'rescue' end as kind
    from nodes where state in ('ordered', 'starting', 'proving', 'dead', 'draining', 'leaving', 'rescuing')"""
_MOVES = "select 'move, ' || phase as kind from moves where phase not in ('done', 'abandoned')"
_NEWEST_PASS = "select id, sentence from passes order by id desc limit 1"
_WEIGHTS = re.compile(rf"\bnode-\d+ ({'|'.join(map(happened, ('admit', 'takeout', 'suspend', 'drain')))}) \(")
_SEEN = "select value from facts where name = 'sight'"
_RELOADS = "select max(id) as id from events where kind in ('proxy', 'service') and text like '%reloaded%'"


@dataclass
class Plans:
    """Looks at the fleet in `state`. A pass is under way from when its plan is recorded until what it saw is published;
    a reload, from when its certificates are written down until its event is."""

    state: Path
    _pass: int = 0
    _published: str = ""
    """What was published when that pass was recorded."""
    _loaded: int = 0
    """When a reload was begun, by the file's time."""
    _reloads: int = -1
    """The last reload that was over by then."""
    _connection: sqlite3.Connection | None = None

    def open(self) -> frozenset[str]:
        """The kinds of what is under way now. Look often: what begins and ends between two looks is not seen."""
        try:
            return frozenset({*self._rows(_NODES), *self._rows(_MOVES), *self._weight(), *self._reload()})
        except sqlite3.Error:
            self.close()
            return frozenset()

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _weight(self) -> list[str]:
        """A node that begins or ends to get work."""
        published = "".join(self._rows(_SEEN))
        for number, sentence in self._select(_NEWEST_PASS):
            if number != self._pass:  # one that is new to a first look may be over
                self._published = published if self._pass else ""
            self._pass = number
            return ["weight"] if published == self._published and _WEIGHTS.search(sentence) else []
        return []

    def _reload(self) -> list[str]:
        loaded = 0
        with suppress(OSError):
            loaded = (self.state / "proxy-1" / LOADED).stat().st_mtime_ns
        ((over,),) = self._select(_RELOADS)
        if loaded != self._loaded:
            self._loaded, self._reloads = loaded, (over or 0) if self._loaded else -1
        return ["reload"] if (over or 0) == self._reloads else []

    def _rows(self, sql: str) -> list[str]:
        return [row[0] for row in self._select(sql)]

    def _select(self, sql: str) -> list[Any]:
        if self._connection is None:
            place = f"file:{self.state / 'cupsfleet.db'}?mode=ro"
            self._connection = sqlite3.connect(place, uri=True, timeout=0, check_same_thread=False)
        return self._connection.execute(sql).fetchall()
