"""The start script: without an environment only `up` and `test` make one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cupsfleet"
VERSION = "Python 3.11.2"


def program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def started(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`up` with a Python that makes no environment but writes down that it was asked to, and nothing to install."""
    values = {**tools(folder, f'echo "made anew: $*" >> {folder}/asked'), **environment}
    return subprocess.run([SCRIPT, "up"], env=values, capture_output=True, text=True, timeout=30)


def tools(folder: Path, making: str) -> dict[str, str]:
    """An environment with that Python, and with every package installed. making: what it does instead, in sh."""
    python, dpkg = folder / "tools" / "python3", folder / "tools" / "dpkg-query"
    program(
        python,
        f'case "$1" in -V) echo "{VERSION}";; *) case "$*" in *--clear*) {making};; esac; exit 1;; esac',
    )
    program(dpkg, 'shift 3\nfor name; do echo "$name installed"; done')
    return {**os.environ, "CUPSFLEET_PYTHON": str(python), "PATH": f"{folder / 'tools'}:{os.environ['PATH']}"}


def elsewhere(folder: Path, programs: dict[str, str]) -> tuple[Path, dict[str, str]]:
    """The script where policy-rc.d is not the machine's own, and an environment with these programs in front."""
    script = folder / "cupsfleet"
    script.write_text(SCRIPT.read_text().replace("/usr/sbin/policy-rc.d", str(folder / "policy-rc.d")))
    for name, body in programs.items():
        program(folder / "tools" / name, f"cd {folder}\n{body}")
    return script, {**os.environ, "PATH": f"{folder / 'tools'}:{os.environ['PATH']}"}


@pytest.mark.parametrize("argument", ["--help", "status", "down"])
def test_other_commands_say_what_to_do_first(tmp_path: Path, argument: str) -> None:
    environment = {**os.environ, "CUPSFLEET_VENV": str(tmp_path / "venv")}
    run = subprocess.run([SCRIPT, argument], env=environment, capture_output=True, text=True, timeout=30)
    assert run.returncode == 3
    assert "./cupsfleet up" in run.stderr
    assert not (tmp_path / "venv").exists()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    run = started(tmp_path, {"CUPSFLEET_VENV": str(tmp_path)})
    assert run.returncode == 3
    assert (tmp_path / "mine").read_text() == "precious"


def test_an_environment_that_does_not_run_is_made_anew(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text("version = 3.9.1\n")
    (venv / "bin" / "python").symlink_to("/nonexistent/python3.9")
    run = started(tmp_path, {"CUPSFLEET_VENV": str(venv)})
    assert run.returncode == 3
    assert "made anew" in (tmp_path / "asked").read_text()


def test_two_starts_at_once_do_not_make_the_same_environment(tmp_path: Path) -> None:
    """The second would clear what the first one fills."""
    making = f"mkdir {tmp_path}/making || echo both >> {tmp_path}/asked; sleep 0.5; rmdir {tmp_path}/making"
    values = {**tools(tmp_path, making), "CUPSFLEET_VENV": str(tmp_path / "venv")}
    both = [subprocess.Popen([SCRIPT, "up"], env=values, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(30) for process in both] == [3, 3]
    assert not (tmp_path / "asked").exists()


def test_an_environment_that_was_moved_is_made_anew(tmp_path: Path) -> None:
    """Its programs name the Python that was there before, or one that somebody else has put there since."""
    venv = tmp_path / "venv"
    program(venv / "bin" / "python", f'case "$1" in -V) echo "{VERSION}";; esac')
    (venv / "pyvenv.cfg").touch()
    for home, anew in ((venv, False), (tmp_path / "before", True)):
        (venv / "bin" / "pip").write_text(f"#!{home}/bin/python\n")
        (venv / ".runtime").unlink(missing_ok=True)
        started(tmp_path, {"CUPSFLEET_VENV": str(venv)})
        assert (tmp_path / "asked").exists() == anew


def test_an_environment_that_can_not_be_locked(tmp_path: Path) -> None:
    run = started(tmp_path, {"CUPSFLEET_VENV": str(tmp_path / "missing" / "venv")})
    assert run.returncode == 3
    assert run.stderr.splitlines() == [
        f"cupsfleet: {tmp_path}/missing/venv.lock can't be locked; name another folder in CUPSFLEET_VENV"
    ]


def test_another_program_that_is_busy_with_apt_is_waited_for(tmp_path: Path) -> None:
    busy = "echo 'E: Could not get lock /var/lib/apt/lists/lock.' >&2; exit 100"
    script, environment = elsewhere(
        tmp_path,
        {
            "apt-get": f'echo "$*" >> asked; [ "$(wc -l < asked)" -gt 3 ] || {{ {busy}; }}',
            "dpkg-query": "exit 1",
            "sudo": '"$@"',
            "sleep": "",
        },
    )
    environment["CUPSFLEET_PYTHON"] = "/nonexistent/python3"
    run = subprocess.run(["sh", script, "up"], env=environment, capture_output=True, text=True, timeout=30)
    *updates, install = (tmp_path / "asked").read_text().splitlines()
    assert updates == ["update -q"] * 4
    assert "DPkg::Lock::Timeout=" in install
    assert run.stderr.count("waiting for another program") == 1
    assert "CUPSFLEET_PYTHON" in run.stderr  # it has gone on to the environment


def test_an_interrupted_installation_leaves_no_policy(tmp_path: Path) -> None:
    """Ctrl-C while apt-get runs, in a place where policy-rc.d is not the machine's own."""
    script, environment = elsewhere(
        tmp_path, {"apt-get": "touch started; sleep 20", "dpkg-query": "exit 1", "sudo": '"$@"'}
    )
    process = subprocess.Popen(
        ["sh", script, "up"],
        env=environment,
        start_new_session=True,
        stderr=subprocess.PIPE,
        # Whoever runs the tests in the background has them ignore it, and a shell can't trap what it ignores.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert (tmp_path / "policy-rc.d").exists()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not (tmp_path / "policy-rc.d").exists()
