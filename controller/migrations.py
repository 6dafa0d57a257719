"""The database's shape, from the first version on. A migration that has been released is never changed."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("cupsfleet")


@migrations()  # type: ignore[untyped-decorator]
def m001_fleet(db: Database) -> None:
    """Nodes, slots, commands, events, decisions and facts."""
    db["nodes"].create(
        {
            "name": str,
            "slot": int,
            "driver": str,
            "host": str,
            "port": int,
            "state": str,
            "goal": str,
            "since": float,
            "reason": str,
            "failure": str,
            "deaths": int,
            "queues": str,
        },
        pk="name",
    )
    db["slots"].create({"slot": int, "highest_id": int, "released_at": float}, pk="slot")
    db["commands"].create(
        {
            "id": int,
            "verb": str,
            "argument": str,
            "asked_by": str,
            "asked_at": float,
            "state": str,
            "node": str,
            "outcome": str,
            "answered_at": float,
        },
        pk="id",
    )
    db["commands"].create_index(["state"])
    db["events"].create({"id": int, "at": float, "kind": str, "node": str, "text": str}, pk="id")
    db["events"].create_index(["at"])
    db["events"].create_index(["node", "at"])
    db["passes"].create({"id": int, "at": float, "sentence": str, "snapshot": str, "plan": str}, pk="id")
    db["passes"].create_index(["at"])
    db["facts"].create({"name": str, "value": str}, pk="name")
