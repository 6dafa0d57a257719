"""The command line: one sentence and an exit code for whatever goes wrong, and text exactly as it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controller import cli, lifetime, processes
from controller.daemon import CONFIG_FACT
from controller.decide import decide
from controller.diary import Diary
from controller.nodes.settings import mark_of
from controller.notify import Listener, Patience, notify
from controller.plan import Answer
from controller.snapshot import Node, NodeState
from controller.state import AlreadyRuns, State
from controller.store import Store
from controller.users import Users
from controller.views import publish
from tests.builders import settings, sight, snapshot
from tests.process.fleet import eventually

SERVER = Node("node-3", 3, "existing", "10.0.0.9", 631, reason="admin asked for it")


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.prepare()
    Store(state.database, create=True).close()
    return state


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["cupsfleet", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run


def see(state: State, *problems: str) -> None:
    seen = snapshot(sight(1))
    with Store(state.database) as store:
        publish(store, seen, decide(seen, settings()), settings(), list(problems))


def put(state: State, node: Node) -> None:
    with Store(state.database) as store, store.transaction():
        store.put_node(node)


class TestText:
    def test_brackets_are_no_markup(self, state: State, run, capsys: pytest.CaptureFixture[str]) -> None:
        see(state, "the address [::1]:631 is [/odd]")
        with Store(state.database) as store:
            store.event("failed", "read [bold]this[/] and [/nothing] at [fe80::1]:631", "node-1")
        assert run("explain", "--state", state.folder) == 0
        assert "read [bold]this[/] and [/nothing] at [fe80::1]:631" in capsys.readouterr().out
        run("status", "--state", state.folder)
        assert "problem: the address [::1]:631 is [/odd]" in capsys.readouterr().out

    def test_what_happened_to_a_node_is_told_in_words(self, state: State, run, capsys) -> None:
        with Store(state.database) as store:
            store.event("takeout", "three checks went unanswered", "node-3")
        run("explain", "--state", state.folder)
        (line,) = (line for line in capsys.readouterr().out.splitlines() if "node-3" in line)
        assert ("is dead, gets no new jobs" in line, "takeout" in line) == (True, False)
        run("explain", "--json", "--state", state.folder)
        assert json.loads(capsys.readouterr().out)["events"][0]["kind"] == "takeout", "programs go by it"

    def test_a_row_is_one_line_where_no_terminal_is(
        self, state: State, run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Store(state.database) as store:
            store.event("failed", "word " * 100 + "\nand a second line", "node-1")
            store.event("failed", "\x1b[2Jgone", "node-2")
        run("explain", "--state", state.folder)
        lines = [line for line in capsys.readouterr().out.splitlines() if "failed" in line]
        assert len(lines) == 2
        assert lines[0].endswith("\ufffd[2Jgone")
        assert lines[1].endswith("word word and a second line")


class TestMistakes:
    def test_a_time_before_anything_was_decided_is_told(self, run, state, capsys) -> None:
        assert run("explain", "--at", "2020-01-01 00:00:00", "--state", state.folder) == 0
        assert "nothing was decided until 2020-01-01 00:00:00" in capsys.readouterr().err

    def test_so_is_one_at_which_no_controller_looked(self, run, state, capsys) -> None:
        plan = decide(snapshot(sight(1)), settings())
        begin = datetime.now().astimezone().replace(microsecond=0) - timedelta(hours=1)
        with Store(state.database) as store, store.transaction():
            Diary(store).keep(plan)
            store.execute("update scalings set at = ?", [begin.timestamp()])
        for minutes, silent in ((6, False), (30, True)):
            moment = begin + timedelta(minutes=minutes)
            assert run("explain", "--at", moment.isoformat(), "--state", state.folder) == 0
            said = f"no controller looked from {begin:%Y-%m-%d %H:%M:%S} until {moment:%Y-%m-%d %H:%M:%S}"
            assert (said in capsys.readouterr().err.replace("\n", " ")) is silent

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (("explain", "--at", "yesterday"), "'yesterday' is no time; allowed is 2027-01-04T11:00, or 2027-01-04"),
            (("pause", "growing"), "'growing' was given; allowed is scaling"),
            (("user", "role", "demo", "boss"), "'boss' was given; allowed is user, admin"),
            (("costs", "--by", "dog"), "'dog' was given; allowed is user, department, account, printer, month"),
            (("jobs", "--which", "mine"), "'mine' was given; allowed is open, ended, all"),
        ],
    )
    def test_a_word_that_is_not_allowed_is_named_with_those_that_are(self, given, said, run, state, capsys) -> None:
        assert run(*given, "--state", state.folder) == 2
        assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())

    @pytest.mark.parametrize("content", [b"", b"no database" * 1000])
    @pytest.mark.parametrize("command", ["status", "nodes", "jobs", "explain"])
    def test_a_broken_database(
        self, state: State, run, capsys: pytest.CaptureFixture[str], command: str, content: bytes
    ) -> None:
        for path in state.folder.glob("cupsfleet.db*"):
            path.unlink()
        state.database.write_bytes(content)
        assert run(command, "--state", state.folder) == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"cupsfleet: {state.database}: the database can't be opened: ")

    @pytest.mark.parametrize(
        ("error", "code", "sentence"),
        [
            (PermissionError(13, "Permission denied", "/x/users"), 3, "/x/users: Permission denied"),
            (OSError(28, "No space left on device"), 3, "No space left on device"),
            (sqlite3.OperationalError("disk I/O error"), 3, "disk I/O error"),
            (subprocess.TimeoutExpired("openssl", 30), 1, "Command 'openssl' timed out after 30 seconds"),
        ],
    )
    def test_what_the_system_says(
        self,
        run,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: Exception,
        code: int,
        sentence: str,
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(lifetime, "stop", fail)
        assert run("down") == code
        assert capsys.readouterr().err == f"cupsfleet: {sentence}\n"

    def test_up_refuses_a_folder_in_which_no_server_can_live(
        self, tmp_path: Path, run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("up", "--detach", "--state", tmp_path / "a:b") == 3
        assert "holds a : or ;, by which CUPS separates folders; choose another --state" in capsys.readouterr().err
        assert not (tmp_path / "a:b").exists()

    def test_down_in_a_folder_without_a_fleet_makes_none(self, tmp_path: Path, run) -> None:
        assert run("down", "--state", tmp_path / "nothing") == 0
        assert not (tmp_path / "nothing").exists()

    def test_down_ends_what_runs_when_the_database_is_broken(
        self, state: State, run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for path in state.folder.glob("cupsfleet.db*"):
            path.unlink()
        state.database.write_bytes(b"no database" * 1000)
        assert run("down", "--state", state.folder) == 1
        assert "everything is stopped, but that could not be written down" in capsys.readouterr().err

    def test_down_ends_what_runs_when_its_folder_is_gone(self, state: State, run) -> None:
        put(state, Node("node-1", 1, "process", "127.0.0.1", 6311))
        mark = {processes.MARK: mark_of(state.nodes / "node-1")}
        left = subprocess.Popen(["sleep", "60"], env={**os.environ, **mark})
        shutil.rmtree(state.nodes)
        assert run("down", "--state", state.folder) == 0
        assert left.wait(30) == -signal.SIGKILL

    def test_up_tells_that_a_running_fleet_goes_by_something_else(
        self, state: State, run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        see(state)
        config = tmp_path / "fleet.toml"
        config.write_text("")
        monkeypatch.setattr(State, "controller", lambda self: 1)
        monkeypatch.setattr(lifetime, "check_ports", lambda *_: None)
        with Store(state.database) as store:
            store.put_fact(CONFIG_FACT, "")
        known = ("up", "--detach", "--state", state.folder)
        assert run(*known, "--port", 8631) == 0
        assert run(*known, "--port", 8632) == 1
        assert "with the port 8631, not 8632" in capsys.readouterr().err
        assert run(*known, "--config", config) == 1
        assert "with the configuration by default" in capsys.readouterr().err

    def test_an_answer_that_nobody_reads_to_its_end(self, state: State) -> None:
        with Store(state.database) as store:
            for number in range(5000):
                store.event("failed", f"event {number}", "node-1")
        command = [sys.executable, "-P", "-m", "controller", "explain", "--limit", "5000", "--state", str(state.folder)]
        for options in ([], ["--json"]):
            with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                process.stdout.readline()
                process.stdout.close()
                assert process.stderr.read() == b""

    def test_a_program_that_is_missing_is_named_before_anything_is_made(
        self, state: State, run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(lifetime, "program", lambda name: None if name == "cupsd" else Path(name))
        assert run("up", "--state", state.folder) == 3
        assert "this machine has no cupsd; as root run: apt-get install cups-daemon" in capsys.readouterr().err
        assert not state.users.exists()

    def test_little_space_keeps_nobody_from_removing_a_user(
        self, state: State, run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("controller.state.SPACE_NEEDED", 2**60)
        for name in ("alice", "bob"):
            Users(state.users).add(name, "password")
        assert run("user", "remove", "alice", "--state", state.folder) == 0
        assert run("up", "--state", state.folder) == 3
        assert "spools need room" in capsys.readouterr().err

    @pytest.mark.parametrize("change", [("passwd", "alice"), ("remove", "alice"), ("role", "alice", "admin")])
    def test_nobody_is_changed_where_nothing_is(
        self, change: tuple[str, ...], tmp_path: Path, run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("user", *change, "--state", tmp_path / "elsewhere") == 3
        assert f"there is no state folder {tmp_path}/elsewhere" in capsys.readouterr().err
        assert not (tmp_path / "elsewhere").exists()


class TestOneController:
    def test_a_second_one_is_told_of_the_first(self, state: State, run, capsys: pytest.CaptureFixture[str]) -> None:
        handle = state.lock()
        assert run("up", "--state", state.folder) == 5
        said = capsys.readouterr().err
        assert f"a controller already runs for {state.folder}, process {os.getpid()}" in said
        assert f"cupsfleet down --state {state.folder}" in said
        assert not state.users.exists()
        with pytest.raises(AlreadyRuns):
            state.lock()
        os.close(handle)
        assert state.controller() is None

    def test_readers_keep_no_controller_from_starting(self, state: State) -> None:
        os.close(state.lock())
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                state.controller()

        readers = [threading.Thread(target=ask) for _ in range(4)]
        for reader in readers:
            reader.start()
        try:
            for _ in range(20):
                os.close(state.lock())
        finally:
            done.set()
            for reader in readers:
                reader.join()
        assert state.controller() is None

    def test_a_controller_that_ended_by_itself_meanwhile(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        with subprocess.Popen(["true"]) as gone:
            pass
        monkeypatch.setattr(State, "controller", lambda self: gone.pid)
        assert lifetime.stop(state) == "stopped"


class TestCommands:
    def test_one_that_is_not_taken_up_is_withdrawn(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lifetime, "COMMAND_DEADLINE", 0.2)
        with Store(state.database) as store:
            with pytest.raises(lifetime.LifetimeError, match=r"command 1 \(add \) is withdrawn"):
                lifetime.carry_out(store, "add", "", "admin", wait=False, tell=print)
            assert store.open_commands() == ()

    def test_waiting_tells_each_change_once(self, state: State) -> None:
        told: list[str] = []

        def control() -> None:
            with Store(state.database) as own:
                eventually(own.open_commands)
                with own.transaction():
                    own.put_node(SERVER)
                    own.answer(Answer(1, "running", "node-3 is ordered", "node-3"))
                eventually(lambda: told)
                with own.transaction():
                    own.put_node(replace(SERVER, failure="start failed: it refuses"))
                eventually(lambda: len(told) > 1)
                time.sleep(0.4)  # in which it is not told again
                with own.transaction():
                    own.answer(Answer(1, "done", "node-3 is ready", "node-3"))

        controller = threading.Thread(target=control)
        controller.start()
        with Store(state.database) as store:
            row = lifetime.carry_out(store, "add", "", "admin", wait=True, tell=told.append)
        controller.join()
        assert row["state"] == "done"
        assert told == ["node-3 is ordered: admin asked for it", "node-3 is ordered: start failed: it refuses"]

    def test_what_someone_elses_server_lacks_is_told_with_its_steps(self, state: State) -> None:
        put(state, replace(SERVER, failure="start failed: it has no queue\n  1. lpadmin -p QUEUE"))
        with Store(state.database) as store, pytest.raises(lifetime.LifetimeError) as told:
            lifetime.first_check(store, "node-3")
        assert "1. lpadmin -p QUEUE" in str(told.value)
        assert "nothing has to be repeated" in str(told.value)
        assert "cupsfleet retire node-3" in str(told.value)

    @pytest.mark.parametrize("standing", [NodeState.PROVING, NodeState.READY])
    def test_a_server_that_passes_its_check_is_no_news(self, state: State, standing: NodeState) -> None:
        put(state, replace(SERVER, state=standing))
        with Store(state.database) as store:
            lifetime.first_check(store, "node-3")


@pytest.mark.parametrize("setting", ["front_door.certificate", "nodes.ca_file"])
def test_a_file_without_a_certificate_is_no_good_configuration(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    config = tmp_path / "fleet.toml"
    config.write_text(f'{setting} = "fleet.toml"\n')
    assert run("config", "check", "--config", config) == 2
    assert f"{setting} was given '{config}', allowed: a PEM file" in capsys.readouterr().err
    config.write_text(f'{setting} = "nowhere.pem"\n')
    assert run("config", "check", "--config", config) == 2
    assert "No such file" in capsys.readouterr().err


def test_the_callers_folder_lends_no_code(state: State, tmp_path: Path) -> None:
    """The daemon is started from wherever the administrator stands."""
    for name in ("queue.py", "controller.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    code = (
        "import sys; from pathlib import Path; from controller import lifetime; from controller.state import State;"
        f"lifetime.start_detached(State(Path({str(state.folder)!r})), Path('/nonexistent.toml'), None, print)"
    )
    run = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "there is no such file" in run.stderr
    assert not (tmp_path / "ran").exists()


def test_whoever_waits_is_told_that_the_start_takes_longer(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the database of an older version is brought into shape."""
    listener, heard = Listener(), list[str]()
    monkeypatch.setattr(lifetime, "START_DEADLINE", 0.4)
    monkeypatch.setenv("NOTIFY_SOCKET", listener.name)
    Patience()()
    threading.Timer(1.0, notify, ["READY=1"]).start()
    with subprocess.Popen(["sleep", "30"]) as process:
        lifetime._await_ready(process, listener, state, heard.append)
        process.kill()
    listener.close()
    assert len(heard) == 1
    assert "brought into the shape of this version" in heard[0]


def test_json_is_json(state: State, run, capsys: pytest.CaptureFixture[str]) -> None:
    see(state)
    assert run("status", "--json", "--state", state.folder) == 4
    assert json.loads(capsys.readouterr().out)["nodes"][0]["name"] == "node-1"
