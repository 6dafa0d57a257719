"""Who a process is, and what is kept of a log."""

from __future__ import annotations

import os
from pathlib import Path

from haproxy import process
from machine.identity import identity_of


def test_a_process_is_known_by_its_start(tmp_path: Path) -> None:
    process.record(tmp_path, os.getpid())
    assert process.recorded(tmp_path) == identity_of(os.getpid())
    text = (tmp_path / process.RECORD).read_text()
    (tmp_path / process.RECORD).write_text(text.replace('"started": ', '"started": 1'))
    assert process.recorded(tmp_path) is None, "another process has the same number now"
    (tmp_path / process.RECORD).write_text("{")
    assert process.recorded(tmp_path) is None


def test_a_long_log_is_moved_and_the_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / process.LOG
    with log.open("a") as writer:
        writer.write("x" * 100)
        writer.flush()
        assert not process.trim_log(tmp_path, 100)
        assert process.trim_log(tmp_path, 99)
        writer.write("after")
    assert log.read_text() == "after"
    assert (tmp_path / f"{process.LOG}.1").read_text() == "x" * 100
