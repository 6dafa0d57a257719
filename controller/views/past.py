"""What happened: events and commands, and a node's own past."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.state import State
from controller.store import Store

LOG_BYTES = 1 << 18
"""Of a log, so much is looked at, from its end."""
_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@/]+@")

_SHOWN = ("at", "kind", "node", "text", "who", "state", "outcome")
_EVENTS = {"at": "at", "kind": "kind", "node": "node", "text": "text", "who": "''", "state": "''", "outcome": "''"}
_COMMANDS = {
    "at": "asked_at",
    "kind": "'command'",
    "node": "node",
    "text": "trim(verb || ' ' || argument)",
    "who": "asked_by",
    "state": "state",
    "outcome": "outcome",
}


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
    values = {"since": since, "until": until, "text": f"%{_literally(text)}%", "most": limit + offset}
    values |= {f"kind{place}": kind for place, kind in enumerate(kinds)}
    total, rows = 0, []
    # What became of a command stands with the command; the event that tells of it would say so once more.
    for table, columns, always in (("events", _EVENTS, "kind != 'command'"), ("commands", _COMMANDS, "true")):
        where = " and ".join([always, *_conditions(columns, since, until, text, kinds)])
        total += store.rows(f"select count(*) as n from {table} where {where}", values)[0]["n"]
        shown = ", ".join(f"{columns[name]} as {name}" for name in _SHOWN)
        found = f"select {shown} from {table} where {where} order by {columns['at']} desc limit :most"
        rows += store.rows(found, values)
    rows.sort(key=lambda row: -float(row["at"]))
    return {"total": total, "rows": rows[offset : offset + limit]}


def _conditions(
    columns: Mapping[str, str], since: float | None, until: float | None, text: str, kinds: Sequence[str]
) -> Iterator[str]:
    if since is not None:
        yield f"{columns['at']} >= :since"
    if until is not None:
        yield f"{columns['at']} < :until"
    if kinds:
        yield f"{columns['kind']} in ({', '.join(f':kind{place}' for place in range(len(kinds)))})"
    if text:
        told = (columns[name] for name in _SHOWN[1:] if columns[name] != "''")
        yield f"({' or '.join(f'{column} like :text' + ESCAPE for column in told)})"


ESCAPE = " escape '\\'"


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
