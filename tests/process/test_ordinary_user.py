"""A fleet needs no root, once what it needs is installed."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from haproxy import process
from tests.process.fleet import Fleet, eventually, free_port
from tests.process.nobody import nobody


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_ordinary_user_runs_a_fleet(tmp_path: Path) -> None:
    document = tmp_path / "document.txt"
    document.write_text("printed by an ordinary user's fleet\n")
    with nobody() as user:
        fleet = Fleet(user.state, free_port(), user.environment, user.python)
        try:
            fleet.up()
            fleet.print_document(document)
            eventually(lambda: document.read_bytes() in fleet.printed())
            master = process.recorded(user.state / "proxy-1")
            assert master is not None
            pids = [master.pid, fleet.controller(), *(fleet.pid_of(node["name"]) for node in fleet.nodes())]
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids} == {pwd.getpwnam("nobody").pw_uid}
        finally:
            assert fleet.run("down").returncode == 0
