"""The end of a program is noticed at once."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator

import pytest

from controller import deaths
from controller.deaths import Deaths


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_the_end_of_a_program_wakes(program: subprocess.Popen[bytes]) -> None:
    woken = threading.Event()
    watch = Deaths(woken.set)
    for _ in range(3):
        watch.watch(program.pid)
    assert not woken.wait(0.1)
    program.kill()
    assert woken.wait(20)
    assert watch._watched == {}


def test_what_can_not_be_watched_is_left_alone(
    program: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Deaths(lambda: None)
    watch.watch(2**22 + 1)  # beyond the highest id that Linux gives
    monkeypatch.setattr(deaths, "MOST", 0)
    watch.watch(program.pid)
    assert watch._watched == {}
