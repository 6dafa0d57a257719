"""What the tables hold that pages are tested on."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.costs.ledger import Entry, Ledger
from controller.costs.sums import number
from controller.decide import decide
from controller.jobs.table import Job, JobTable
from controller.state import State
from controller.store import Store
from controller.views import publish
from tests.builders import settings, sight, snapshot
from tests.unit.pages.opening import NASTY, begun, look_as


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A fleet of two, with jobs of demo and of alice; who looks is an administrator."""
    state = begun(tmp_path, monkeypatch)
    monkeypatch.setenv("CUPSFLEET_STATE_DIR", str(tmp_path))
    look_as(monkeypatch, "admin")
    now = int(time.time())
    with Store(state.database, create=True) as store:
        seen = snapshot(sight(1), sight(2))
        publish(store, seen, decide(seen, settings()), settings(), [])
        with store.transaction():
            JobTable(store).put(
                [
                    Job("uuid-1", 1_000_001, "node-1", "office", "demo", NASTY, created=now - 300),
                    Job("uuid-2", 2_000_001, "node-2", "lab", "alice", "hers", state="held", created=now - 600),
                    Job("uuid-3", 1_000_002, "node-1", "office", "demo", "ancient", "completed", created=now - 900),
                ]
            )
            today = number(datetime.now(UTC).date())
            Ledger(store).write(
                [
                    Entry("job:uuid-3", "job", now, today, "demo", printer="office", pages=3, amount=150_000),
                    Entry("job:x", "job", now, today, "alice", "physics", printer="lab", pages=7, amount=700_000),
                ]
            )
            store.event("scaling", "more work came", "")
        store.ask("drain", "node-1", "admin")
    return state
