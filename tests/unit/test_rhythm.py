"""What the controller does regularly goes on, whatever fails and however the clock is set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from controller.rhythm import Rhythm, at_once
from controller.store import StoreError
from tests.process.fleet import eventually


@pytest.fixture
def rhythm() -> Iterator[Rhythm]:
    rhythm = Rhythm(threading.Event())
    yield rhythm
    rhythm.end()


def test_what_fails_is_tried_again_and_told(rhythm: Rhythm, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def failing() -> None:
        calls.append(1)
        raise StoreError("locked")

    rhythm.beside(0.02, "jobs", failing, "jobs could not be read")
    rhythm.start()
    eventually(lambda: len(calls) > 2)
    assert "jobs could not be read: locked" in caplog.messages


def test_a_clock_that_was_set_back_holds_nothing_up(rhythm: Rhythm) -> None:
    calls: list[int] = []
    job = rhythm.every(0.02, "pass", lambda: calls.append(1))
    rhythm.start()
    job.modify(next_run_time=datetime.now(UTC) + timedelta(hours=1))
    before = len(calls)

    def goes_on() -> bool:
        rhythm.keep_time()
        return len(calls) > before + 1

    eventually(goes_on)


def test_after_the_end_was_asked_for_nothing_begins(rhythm: Rhythm) -> None:
    calls: list[int] = []
    job = rhythm.every(3600, "pass", lambda: calls.append(1))
    rhythm.start()
    rhythm.stop.set()
    before = rhythm._begun[job.id]
    at_once(job)
    eventually(lambda: rhythm._begun[job.id] > before)
    assert not calls
