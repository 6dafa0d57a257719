"""The loop between its passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.config_file import Configuration
from controller.daemon import Daemon
from controller.door import Door
from controller.ports import Ports
from controller.services import Services
from controller.snapshot import Node
from controller.state import State
from controller.store import Store


class Job:
    """A scheduler's, of which only the calls ahead of time are counted."""

    calls = 0

    def modify(self, **_: object) -> None:
        self.calls += 1


def test_whoever_asks_for_something_wakes_a_pass_that_may_be_a_minute_away(tmp_path: Path) -> None:
    state, config = State(tmp_path / "state"), tmp_path / "fleet.toml"
    state.prepare()
    config.write_text('[health]\ninterval = "60s"\n')
    daemon, passes = Daemon(state, Configuration(config, None), lambda: None), Job()
    daemon._pass = passes
    with Store(state.database, create=True) as store:
        daemon._wake_when_asked()
        assert passes.calls == 0
        store.ask("cancel-job", "1", "demo")  # a job's command has its own loop
        daemon._wake_when_asked()
        assert passes.calls == 0
        number = store.ask("add", "", "admin")
        daemon._wake_when_asked()
        assert passes.calls == 1
        store.withdraw(number, "")
    state.users.write_text("demo")
    for _ in range(2):
        daemon._wake_when_asked()
    assert passes.calls == 2
    config.write_text("")
    daemon._wake_when_asked()
    assert passes.calls == 3


def test_what_happens_during_a_pass_wakes_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler forgets what is to be run while it runs."""
    daemon = Daemon(State(tmp_path), Configuration(None, None), lambda: None)
    daemon._pass = passes = Job()
    monkeypatch.setattr(daemon, "_pass_once", lambda: None)
    daemon._run_pass()
    assert passes.calls == 0
    monkeypatch.setattr(daemon, "_pass_once", daemon._wake_up)
    daemon._run_pass()
    assert passes.calls == 2


def test_a_dashboard_that_does_not_start_keeps_nobody_from_printing(tmp_path: Path) -> None:
    with Store(tmp_path / "db", create=True) as store:
        services = Services(State(tmp_path), Ports(store))
    services._problems |= {"dashboard": "it ends", "printer-office": "it can't be started"}
    assert services.problems() == ["it ends", "it can't be started"]
    assert services.hindrances() == ["it can't be started"]


def test_whoever_waits_for_the_start_hears_why_no_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("controller.daemon.notify", said.append)
    state = State(tmp_path)
    daemon = Daemon(state, Configuration(None, None), lambda: None)
    daemon.door = Door(state)
    with Store(state.database, create=True) as daemon.store:
        daemon.services = Services(state, Ports(daemon.store))
        daemon.store.put_node(Node("node-1", 1, "process", "127.0.0.1", 6311, failure="start failed: cupsd is gone"))
        daemon._announce_when_ready()
    assert said == ["STATUS=node-1: start failed: cupsd is gone"]
