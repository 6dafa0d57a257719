"""From `up` to `down`: starting the daemon, ending all it started, and asking it for something in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller import certificate
from controller.config import Settings
from controller.config_file import ConfigError, Configuration
from controller.daemon import CONFIG_FACT, Daemon, stop_everything
from controller.nodes.settings import usable_path
from controller.notify import Listener
from controller.processes import running
from controller.snapshot import Node, NodeState
from controller.state import State, StateError
from controller.store import Store, StoreError
from controller.users import Users, ensure_first_users
from haproxy.errors import PortTaken
from haproxy.install import Proxy, check_free
from machine.identity import identity_of
from machine.identity import start_detached as launch
from machine.programs import program

START_DEADLINE = 60.0
"""Seconds until `up --detach` gives up waiting for the first ready nodes."""
STOP_DEADLINE = 60.0
"""Seconds for the controller to end everything; then it is ended itself, and the rest from here."""
COMMAND_DEADLINE = 15.0
"""Seconds until the controller must have taken up a command."""
CHECK_DEADLINE = 30.0
"""Seconds to wait for the first check of someone else's server."""
WAIT_DEADLINE = 86400.0
"""Seconds that `--wait` waits: a drain takes as long as the jobs do."""

PACKAGES = {"haproxy": "haproxy", "cupsd": "cups-daemon", "openssl": "openssl"}
"""The programs without which nothing starts, and Debian's packages that hold them."""

Tell = Callable[[str], None]


class LifetimeError(Exception):
    """The fleet could not be started, stopped or asked; the message says why and what to do."""


class NotRunning(LifetimeError):
    """Nobody is there who would carry it out."""


class Unequipped(LifetimeError):
    """This machine lacks a program that a fleet needs."""


def first_users(place: State, with_demo: bool) -> list[tuple[str, str]]:
    return ensure_first_users(place, with_demo)


def check_folder(place: State) -> None:
    """Raise StateError when no node could live in the state folder."""
    if trouble := usable_path(place.nodes / "node-999999"):
        raise StateError(trouble)


def check_programs(place: State) -> None:
    """Raise Unequipped when a program is missing and nothing runs yet. What runs can be taken over without it."""
    lacking = [name for name in PACKAGES if program(name) is None]
    if lacking and not _left_running(place):
        packages = " ".join(PACKAGES[name] for name in lacking)
        raise Unequipped(f"this machine has no {', no '.join(lacking)}; as root run: apt-get install {packages}")


def check_ports(place: State, settings: Settings) -> None:
    """Raise LifetimeError when a port of the front door belongs to somebody else."""
    door = settings.front_door
    for number, port in enumerate((door.port, *door.more_ports), 1):
        if not Proxy(place.proxy(number)).running():
            try:
                check_free(door.listen, port)
            except PortTaken as error:
                raise LifetimeError(str(error)) from None


def check_certificates(settings: Settings) -> None:
    """Raise ConfigError when a certificate that the configuration names can't be used."""
    own, authorities = settings.front_door.certificate, settings.nodes.ca_file
    with_key = "a PEM file with certificate chain and private key that this user can read, without a pass phrase"
    _check_file("front_door.certificate", own, certificate.check, with_key)
    _check_file("nodes.ca_file", authorities, certificate.check_authorities, "a PEM file with certificates")


def _check_file(setting: str, path: Path | None, check: Callable[[Path], None], allowed: str) -> None:
    if path:
        try:
            check(path)
        except certificate.CertificateError as error:
            raise ConfigError(f"{setting} was given {str(path)!r}, allowed: {allowed} ({error})") from None


def serve(place: State, config: Path | None, port: int | None, announce: Callable[[], None]) -> None:
    """Be the controller until a signal ends it, and everything it started."""
    Daemon(place, Configuration(config, port), announce).run()


def start_detached(place: State, config: Path | None, port: int | None, tell: Tell) -> None:
    """Start the controller in the background; returns when jobs can be printed. tell: hears why it takes longer.

    Raises LifetimeError.
    """
    if place.controller() is not None:
        _wait_until_seen(place)
        _refuse_other(place, config, port)
        return
    listener = Listener()
    command = [sys.executable, "-P", "-m", "controller", "up", "--state", str(place.folder)]
    command += ["--config", str(config)] if config else []
    command += ["--port", str(port)] if port else []
    environment = {**os.environ, "NOTIFY_SOCKET": listener.name}
    _await_ready(launch(command, place.logs / "controller.log", environment), listener, place, tell)


def _await_ready(process: subprocess.Popen[bytes], listener: Listener, place: State, tell: Tell) -> None:
    said, told = "it said nothing", ""
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        for name, value in listener.messages(0.2):
            if name == "READY":
                return
            said = value if name == "STATUS" else said
            if name == "EXTEND_TIMEOUT_USEC" and value.isdecimal():
                deadline = max(deadline, time.monotonic() + int(value) / 1_000_000)
                if told != said:
                    tell(said)
                    told = said
        if process.poll() is not None:
            if place.controller() is not None:  # somebody else's `up` was faster
                return _wait_until_seen(place)
            raise LifetimeError(said)
    raise LifetimeError(
        f"no node was ready after {START_DEADLINE:.0f} s ({said}); it goes on trying, see: cupsfleet status "
        f"--state {place.folder} and {place.logs / 'controller.log'}"
    )


def _wait_until_seen(place: State) -> None:
    """A controller that runs already may still be on its way."""
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        with suppress(StoreError), Store(place.database) as store:  # it may be about to make its database
            if (sight := store.fact("sight")) and sight["scaling"]["actual"]:
                return
        time.sleep(0.2)
    raise LifetimeError(f"the controller that runs for {place.folder} has no ready node; see: cupsfleet status")


def _refuse_other(place: State, config: Path | None, port: int | None) -> None:
    """Raise LifetimeError when the controller that runs goes by another file or port than was asked for."""
    with Store(place.database) as store:
        runs_with, runs_at = store.fact(CONFIG_FACT), store.fact("sight")["door"]["port"]
    wishes = ((config and str(config), runs_with, "configuration"), (port, runs_at, "port"))
    for wanted, found, what in wishes:
        if wanted and wanted != found:
            raise LifetimeError(
                f"the fleet in {place.folder} runs already, with the {what} {found or 'by default'}, not {wanted}; "
                "end it first with: cupsfleet down"
            )


def stop(place: State) -> str:
    """Stop everything; returns what was done, as a sentence. Raises LifetimeError."""
    pid = place.controller()
    if pid is None:
        left = _left_running(place)
        if not place.exists() and not left:
            return f"there is no fleet in {place.folder}; nothing to stop"
        _stop_rest(place)
        if not left:
            return f"the fleet in {place.folder} does not run"
        return "no controller ran; what it had left running is stopped"
    if not _end(pid):
        _stop_rest(place)
        return f"the controller (process {pid}) did not end by itself and was killed; everything is stopped"
    if _left_running(place):
        _stop_rest(place)
    return "stopped"


def _stop_rest(place: State) -> None:
    try:
        stop_everything(place)
    except StoreError as error:
        raise LifetimeError(f"everything is stopped, but that could not be written down: {error}") from None


def _end(pid: int) -> bool:
    """End the controller; False when it had to be killed. Raises LifetimeError when it is another user's."""
    controller, deadline = identity_of(pid), time.monotonic() + STOP_DEADLINE
    try:
        os.kill(pid, signal.SIGTERM)
        while controller and controller.alive():
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                return False
            time.sleep(0.05)
    except ProcessLookupError:
        pass  # it has ended by itself
    except PermissionError:
        raise LifetimeError(f"the controller (process {pid}) belongs to another user; stop it as that user") from None
    return True


def _left_running(place: State) -> bool:
    """Whether something that the controller started has outlived it."""
    records = [*place.processes.glob("*.json"), *place.nodes.glob("*/process")]
    proxies = place.folder.glob("proxy-*")
    return any(running(record) for record in records) or any(Proxy(folder).running() for folder in proxies)


def asked(place: State, store: Store, verb: str, argument: str, who: str, wait: bool, tell: Tell) -> dict[str, Any]:
    """As `carry_out`, of what is neither refused nor fails. Raises NotRunning and LifetimeError."""
    if place.controller() is None:
        raise NotRunning(f"no controller runs for {place.folder}, so nobody would carry that out")
    row = carry_out(store, verb, argument, who, wait, tell)
    if row["state"] in ("refused", "failed"):
        raise LifetimeError(f"{row['state']}: {row['outcome']}")
    return row


def carry_out(store: Store, verb: str, argument: str, who: str, wait: bool, tell: Tell) -> dict[str, Any]:
    """Ask the controller; returns the command's row once it is begun, or with `wait` ended. Raises LifetimeError.

    `tell` hears of each change of the node while it is waited for. What is not taken up in time is withdrawn.
    """
    number, begun, told = store.ask(verb, argument, who, "shell"), time.monotonic(), ""
    while True:
        row = store.command(number)
        if row["state"] not in ("asked", "running") or (row["state"] == "running" and not wait):
            return row
        if wait and (sentence := _standing(store, row["node"])) != told:
            tell(sentence)
            told = sentence
        waited = time.monotonic() - begun
        if row["state"] == "asked" and waited > COMMAND_DEADLINE:
            why = f"the controller did not take it up within {COMMAND_DEADLINE:.0f} s"
            if store.withdraw(number, why):
                raise LifetimeError(f"command {number} ({verb} {argument}) is withdrawn: {why}; see: cupsfleet status")
        elif waited > WAIT_DEADLINE:
            raise LifetimeError(f"command {number} ({verb} {argument}) is not done yet, and goes on: cupsfleet explain")
        time.sleep(0.1)


def wait_until_told(store: Store, moment: float) -> None:
    """Wait until `status` was written after a moment of the wall clock, unless no pass comes to its end."""
    deadline = time.monotonic() + COMMAND_DEADLINE
    while store.fact("sight")["at"] < moment and time.monotonic() < deadline:
        time.sleep(0.1)


def _standing(store: Store, name: str) -> str:
    """Where a node stands, as a sentence; '' for a node that is unknown yet or no more."""
    node = _node(store, name)
    return f"{name} is {node.state.value}: {node.failure or node.reason}" if node else ""


def _node(store: Store, name: str) -> Node | None:
    return next((node for node in store.nodes() if node.name == name), None)


def first_check(store: Store, name: str) -> None:
    """Wait for the outcome of the first check of someone else's server. Raises LifetimeError with what it lacks."""
    deadline = time.monotonic() + CHECK_DEADLINE
    while (node := _node(store, name)) and node.state in (NodeState.ORDERED, NodeState.STARTING):
        if node.failure:
            raise LifetimeError(
                f"{node.failure}\n{name} stays ordered and is tried again by itself, so nothing has to be repeated "
                f"here; to give it up: cupsfleet retire {name}"
            )
        if time.monotonic() > deadline:
            raise LifetimeError(f"{name} was not checked within {CHECK_DEADLINE:.0f} s; see: cupsfleet nodes")
        time.sleep(0.1)


def wait_for_users(place: State) -> bool:
    """Wait until the proxies know the user list as it is now; False when no controller runs to tell them."""
    if place.controller() is None:
        return False
    deadline = time.monotonic() + COMMAND_DEADLINE
    with Store(place.database) as store:
        while place.controller() is not None:
            if store.fact("users") == Users(place.users).stamp():
                return True
            if time.monotonic() > deadline:
                raise LifetimeError("the controller did not take up the new user list; see: cupsfleet status")
            time.sleep(0.1)
    return False


def readable(name: str, value: Any) -> str:
    """A table cell: times in the local zone, unknown values as a dash."""
    if value is None:
        return "-"
    if name == "at":
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    return str(value)
