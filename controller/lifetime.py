"""From `up` to `down`: starting the daemon, ending all it started, and asking it for something in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controller.config import Settings
from controller.daemon import Configuration, Daemon, stop_everything
from controller.notify import Listener
from controller.processes import start_tick
from controller.state import State
from controller.store import Store
from controller.users import Users, ensure_first_users
from haproxy.errors import PortTaken
from haproxy.install import Proxy, check_free

START_DEADLINE = 60.0
"""Seconds until `up --detach` gives up waiting for the first ready nodes."""
STOP_DEADLINE = 60.0
"""Seconds for the controller to end everything; then it is ended itself, and the rest from here."""
COMMAND_DEADLINE = 15.0
"""Seconds until the controller must have taken up a command."""
WAIT_DEADLINE = 86400.0
"""Seconds that `--wait` waits: a drain takes as long as the jobs do."""


class LifetimeError(Exception):
    """The fleet could not be started, stopped or asked; the message says why and what to do."""


def first_users(place: State, with_demo: bool) -> list[tuple[str, str]]:
    return ensure_first_users(place, with_demo)


def check_ports(place: State, settings: Settings) -> None:
    """Raise LifetimeError when a port of the front door belongs to somebody else."""
    door = settings.front_door
    for number, port in enumerate((door.port, *door.more_ports), 1):
        if not Proxy(place.proxy(number)).running():
            try:
                check_free(door.listen, port)
            except PortTaken as error:
                raise LifetimeError(str(error)) from None


def serve(place: State, config: Path | None, port: int | None, announce: Callable[[], None]) -> None:
    """Be the controller until a signal ends it, and everything it started."""
    Daemon(place, Configuration(config, port), announce).run()


def start_detached(place: State, config: Path | None, port: int | None) -> None:
    """Start the controller in the background; returns when jobs can be printed. Raises LifetimeError."""
    if place.controller() is not None:
        _wait_until_seen(place)
        return
    listener = Listener()
    command = [sys.executable, "-m", "controller", "up", "--state", str(place.folder)]
    command += ["--config", str(config)] if config else []
    command += ["--port", str(port)] if port else []
    with (place.logs / "controller.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "NOTIFY_SOCKET": listener.name},
        )
    _await_ready(process, listener, place)


def _await_ready(process: subprocess.Popen[bytes], listener: Listener, place: State) -> None:
    said = "it said nothing"
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        for name, value in listener.messages(0.2):
            if name == "READY":
                return
            said = value if name == "STATUS" else said
        if process.poll() is not None:
            raise LifetimeError(said)
    raise LifetimeError(
        f"no node was ready after {START_DEADLINE:.0f} s ({said}); it goes on trying, see: cupsfleet status "
        f"--state {place.folder} and {place.logs / 'controller.log'}"
    )


def _wait_until_seen(place: State) -> None:
    """A controller that runs already may still be on its way."""
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        if place.exists() and (sight := Store(place.database).fact("sight")) and sight["scaling"]["actual"]:
            return
        time.sleep(0.2)
    raise LifetimeError(f"the controller that runs for {place.folder} has no ready node; see: cupsfleet status")


def stop(place: State) -> str:
    """Stop everything; returns what was done, as a sentence."""
    if not place.exists():
        return f"there is no fleet in {place.folder}; nothing to stop"
    pid = place.controller()
    if pid is None:
        stop_everything(place)
        return "no controller ran; whatever it had left running is stopped"
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_DEADLINE
    while start_tick(pid) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            stop_everything(place)
            return f"the controller (process {pid}) did not end by itself and was killed; everything is stopped"
        time.sleep(0.05)
    return "stopped"


def carry_out(store: Store, verb: str, argument: str, who: str, wait: bool) -> dict[str, Any]:
    """Ask the controller; returns the command's row once it is begun, or with `wait` ended. Raises LifetimeError."""
    number = store.ask(verb, argument, who)
    begun = time.monotonic()
    while True:
        row = store.command(number)
        if row["state"] not in ("asked", "running") or (row["state"] == "running" and not wait):
            return row
        limit = COMMAND_DEADLINE if row["state"] == "asked" else WAIT_DEADLINE
        if time.monotonic() - begun > limit:
            raise LifetimeError(
                f"the controller did not take up command {number} ({verb} {argument}) within {limit:.0f} s"
            )
        time.sleep(0.1)


def wait_for_users(place: State) -> bool:
    """Wait until the proxies know the user list as it is now; False when no controller runs to tell them."""
    deadline = time.monotonic() + COMMAND_DEADLINE
    while place.controller() is not None:
        if Store(place.database).fact("users") == Users(place.users).stamp():
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
