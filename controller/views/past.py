"""What happened: events and commands, and a node's own past."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controller.state import State
from controller.store import Store

LOG_BYTES = 1 << 18
"""Of a log, so much is looked at, from its end."""
_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@/]+@")

_EVERYTHING = """
    select at, kind, node, text, '' as who, '' as state, '' as outcome from events where kind != 'command'
    union all
    select asked_at, 'command', node, trim(verb || ' ' || argument), asked_by, state, outcome from commands
"""


def events(
    store: Store,
    since: float | None,
    until: float | None,
    text: str,
    limit: int,
    offset: int,
    kinds: Sequence[str],
) -> dict[str, Any]:
    """total: how many there are. rows: at, kind, node, text, and of a command who, state and outcome; newest first."""
    conditions = ["at >= :since" if since is not None else "", "at < :until" if until is not None else ""]
    named = [f":kind{place}" for place in range(len(kinds))]
    conditions += [f"kind in ({', '.join(named)})" if kinds else "", _MATCHES if text else ""]
    where = " and ".join(condition for condition in conditions if condition) or "true"
    values = {"since": since, "until": until, "text": f"%{_literally(text)}%", "limit": limit, "offset": offset}
    values |= {f"kind{place}": kind for place, kind in enumerate(kinds)}
    total = store.rows(f"select count(*) as n from ({_EVERYTHING}) where {where}", values)[0]["n"]
    page = f"select * from ({_EVERYTHING}) where {where} order by at desc limit :limit offset :offset"
    return {"total": total, "rows": store.rows(page, values)}


_MATCHES = "(kind || ' ' || node || ' ' || text || ' ' || who || ' ' || state || ' ' || outcome) like :text escape '\\'"


def _literally(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def history(store: Store, node: str, limit: int) -> list[dict[str, Any]]:
    """What happened to a node, gone ones too; newest first: at, kind, text."""
    fields = ("at", "kind", "text")
    return [{name: row[name] for name in fields} for row in store.events(limit, node)]


def log_tail(state: State, node: str, lines: int) -> list[str]:
    """The last lines of a node's error_log, passwords in URIs left out; [] where it has none on this machine."""
    if node in ("", ".", "..") or "/" in node:
        return []
    return _tail(state.nodes / node / "log" / "error_log", lines)


def _tail(path: Path, lines: int) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            found = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    if size > LOG_BYTES:
        found = found[1:]  # the first one is likely cut
    return [_PASSWORD.sub(r"\1…@", line) for line in found[-lines:]] if lines > 0 else []
