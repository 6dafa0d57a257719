"""Faults for benchmarks/campaign.py: each one is real, is begun by the name of a node, and is undone by `Fault.end`.

Those of the network and of the disk need what benchmarks/sandbox.py makes. The prober runs as root and HAProxy as its
own account, so that a routing rule by account (ip-rule(8), uidrange) can blind the one and not the other.
"""

from __future__ import annotations

import math
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks import sandbox
from benchmarks.plans import KINDS, Plans
from benchmarks.sandbox import DISK, DISK_BYTES
from benchmarks.site import Site
from controller.state import State
from machine.identity import identity_of

SETTLES = 5.0
"""Seconds after the end of a fault in which its node is not harmed again."""
FULL = 64 << 10
"""Bytes that are left on a disk that counts as full."""
HUNTS = 10.0
"""Seconds in which a controller is waited for to come to a plan of the kinds in which it was killed least often, and by
and by of the others; after that it is killed whatever it does."""


@dataclass
class Fault:
    """Something that goes wrong for a while. `nodes` are those that it harms."""

    kind: str
    nodes: tuple[str, ...] = ()
    seconds: float = 0.0
    begun: float = 0.0
    wall: float = 0.0
    """When it was begun, in seconds since 1970."""
    ended: float = 0.0
    pid: int | None = None
    """The server process of a node that it harms."""
    effect: bool = True
    """Whether anything came of it: a process that is gone can't be killed."""
    undo: Callable[[], None] = lambda: None

    def said(self) -> str:
        return f"{self.kind} {' '.join(self.nodes)}".strip()


@dataclass
class Faults:
    """Begins faults and ends them; every kind that this machine allows."""

    site: Site
    isolated: bool
    """Whether network and mounts are our own to spoil."""
    done: list[Fault] = field(default_factory=list)
    running: list[Fault] = field(default_factory=list)
    jumps: list[float] = field(default_factory=list)
    """When the clock jumped forward (monotonic seconds)."""
    killed_in: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(KINDS, 0)))
    """How often a controller was killed in the middle of each kind of plan."""
    _beside: list[threading.Thread] = field(default_factory=list)
    """Commands that are under way."""
    _rule: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kinds(self) -> dict[str, int]:
        """Each kind that can be had here, with its weight among the others."""
        anywhere = {
            "node killed": 6,
            "node stopped": 3,
            "node slow": 2,
            "controller killed": 5,
            "proxy killed": 1,
            "proxy reloaded": 2,
            "database locked": 2,
            "node added": 2,
            "node retired": 2,
            "node drained": 1,
            "node evacuated": 2,
            "node ruined": 1,
            "clock jumps": 2,
        }
        own = {"prober blind to one": 2, "prober blind to all": 1, "proxy cut off from one": 2, "disk full": 2}
        if not sandbox.COMPILER:
            del anywhere["clock jumps"]
        return anywhere | (own if self.isolated else {})

    def begin(self, kind: str) -> Fault | None:
        """Begin one; None when no node may be harmed now."""
        fault = Fault(kind, seconds=self.site.chance.uniform(1, 15), begun=time.monotonic(), wall=time.time())
        if kind in _NEEDS_NODE:
            victims = self._victims(kind)
            if kind == "disk full":
                victims = [name for name in victims if name == DISK]
            if kind in ("node retired", "node ruined"):  # the disk of its own can't be taken away
                victims = [name for name in victims if name != DISK]
            if not victims:
                return None
            fault.nodes = (self.site.chance.choice(victims),)
            fault.pid = self.site.pid(fault.nodes[0])
        if kind == "controller killed" and any(one.kind == kind for one in self.running):
            return None
        with self._lock:
            self.running.append(fault)
        getattr(self, "_" + kind.replace(" ", "_"))(fault)
        return fault

    def end_due(self, all_of_them: bool = False) -> None:
        for fault in list(self.running):
            if all_of_them or time.monotonic() > fault.begun + fault.seconds:
                fault.undo()
                fault.ended = time.monotonic()
                with self._lock:
                    self.running.remove(fault)
                    self.done.append(fault)

    def _victims(self, kind: str) -> list[str]:
        """Nodes that serve and may be harmed: at least two others have to be well, as far as that is known now."""
        now = time.monotonic()
        late = [fault for fault in self.done[-20:] if fault.ended + SETTLES > now]
        harmed = {name for fault in [*self.running, *late] for name in fault.nodes}
        nodes, seen = self.site.nodes()
        serving = [node["name"] for node in nodes if node["state"] == "ready" and self.site.pid(node["name"])]
        well = [name for name in serving if name not in harmed]
        return well if len(well) > 2 and (seen or kind in _ALONE) else []

    def _node_killed(self, fault: Fault) -> None:
        fault.seconds = 0.0
        fault.effect = _kill(fault.pid, signal.SIGKILL)

    def _node_stopped(self, fault: Fault) -> None:
        fault.seconds = self.site.chance.choice([0.5, 2.0, 5.0, 30.0])
        fault.effect = _kill(fault.pid, signal.SIGSTOP)

        def undo() -> None:
            _kill(fault.pid, signal.SIGCONT)

        fault.undo = undo

    def _node_slow(self, fault: Fault) -> None:
        """It gets to run for a fifth of the time."""
        over = threading.Event()
        fault.effect = _kill(fault.pid, signal.SIGCONT)

        def stutter() -> None:
            while not over.wait(0.05) and _kill(fault.pid, signal.SIGSTOP):
                over.wait(0.2)
                _kill(fault.pid, signal.SIGCONT)

        thread = threading.Thread(target=stutter)
        thread.start()

        def undo() -> None:
            over.set()
            thread.join()

        fault.undo = undo

    def _controller_killed(self, fault: Fault) -> None:
        """In the middle of a plan, which it does not come to at once."""
        fault.seconds, fault.effect = math.inf, False
        away, over = self.site.chance.uniform(0, 4), threading.Event()
        hunter = threading.Thread(target=self._hunt, args=(fault, away, over))
        hunter.start()

        def undo() -> None:
            over.set()
            hunter.join()
            if fault.effect:
                self._begin(self._bring_up)

        fault.undo = undo

    def _hunt(self, fault: Fault, away: float, over: threading.Event) -> None:
        """Kill the controller in the middle of what it was killed in least often; `away` seconds until the next."""
        plans, begun = Plans(self.site.fleet.state), time.monotonic()
        counts = sorted(self.killed_in.values())
        plans.open()  # what was over before is known to the next look
        while not over.wait(0.005):
            patience = (time.monotonic() - begun) / HUNTS
            enough = counts[min(int(len(counts) * patience), len(counts) - 1)]
            wanted = {kind for kind, count in self.killed_in.items() if count <= enough}
            if (plans.open() & wanted or patience > 1) and self._kill_controller():
                fault.begun, fault.wall, fault.effect = time.monotonic(), time.time(), True
                self.killed_in.update(plans.open())
                fault.seconds = away
                break
        plans.close()

    def _kill_controller(self) -> bool:
        pid = State(self.site.fleet.state).controller()
        killed = _kill(pid, signal.SIGKILL)
        while pid and identity_of(pid):  # it may write until it is gone
            time.sleep(0.001)
        return killed

    def _begin(self, work: Callable[..., object], *arguments: str) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._beside.append(thread)
        thread.start()

    def wait(self) -> None:
        """Until every command has come to its end: a late `up` would start a fleet that has been stopped meanwhile."""
        for thread in self._beside:
            thread.join()

    def _bring_up(self) -> None:
        """As a service manager would: again and again until it is up."""
        while not self._done("up", "--detach"):
            time.sleep(1)

    def _done(self, *command: str) -> bool:
        """A machine that has too much to do may be too late with it."""
        with suppress(subprocess.TimeoutExpired):
            return self.site.fleet.run(*command).returncode == 0
        return False

    def _proxy_killed(self, fault: Fault) -> None:
        fault.seconds = 0.0
        fault.effect = _kill(self.site.proxy(), signal.SIGKILL)

    def _proxy_reloaded(self, fault: Fault) -> None:
        """A user more is a reload."""
        self._command(fault, "user", "add", f"guest{len(self.done)}")

    def _command(self, fault: Fault, *words: str) -> None:
        """It has an effect when it is carried out, which may be later."""
        fault.seconds, fault.effect = 0.0, False

        def carry_out() -> None:
            fault.effect = self._done(*words)

        self._begin(carry_out)

    def _database_locked(self, fault: Fault) -> None:
        connection = sqlite3.connect(self.site.fleet.state / "cupsfleet.db", timeout=2, check_same_thread=False)
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError:
            fault.effect = False
        fault.undo = connection.close

    def _clock_jumps(self, fault: Fault) -> None:
        """For the controller, the proxies and the printers; the nodes keep the right time."""
        self._jump(self.site.chance.choice([-86400, -3600, -30, 30, 3600, 86400]))
        fault.undo = lambda: self._jump(0)

    def _jump(self, seconds: int) -> None:
        """To a clock that is wrong by so much."""
        if seconds > sandbox.set_clock(self.site.fleet.state, seconds):
            self.jumps.append(time.monotonic())

    def _node_added(self, fault: Fault) -> None:
        self._command(fault, "add")

    def _node_retired(self, fault: Fault) -> None:
        self._command(fault, "retire", fault.nodes[0])

    def _node_drained(self, fault: Fault) -> None:
        """By an administrator, who has it serve again after a while."""
        seconds = fault.seconds
        self._command(fault, "drain", fault.nodes[0])
        fault.seconds, fault.undo = seconds, lambda: self._begin(self._resume, fault.nodes[0])

    def _resume(self, node: str) -> None:
        while not self._done("resume", node) and any(one["name"] == node for one in self.site.nodes()[0]):
            time.sleep(1)

    def _node_evacuated(self, fault: Fault) -> None:
        self._command(fault, "evacuate", fault.nodes[0])

    def _node_ruined(self, fault: Fault) -> None:
        """It dies, and its settings can't be written any more: it has to be given up, and its spool rescued."""
        fault.seconds = 0.0
        settings = self.site.fleet.state / "nodes" / fault.nodes[0] / "etc" / "cupsd.conf"
        fault.effect = _kill(fault.pid, signal.SIGKILL)
        with suppress(OSError):
            settings.unlink()
            settings.mkdir()
            settings.joinpath("in the way").touch()

    def _prober_blind_to_one(self, fault: Fault) -> None:
        self._cut(fault, 0, list(fault.nodes))

    def _prober_blind_to_all(self, fault: Fault) -> None:
        self._cut(fault, 0, [node["name"] for node in self.site.nodes()[0]])

    def _proxy_cut_off_from_one(self, fault: Fault) -> None:
        self._cut(fault, pwd.getpwnam("haproxy").pw_uid, list(fault.nodes))

    def _cut(self, fault: Fault, account: int, nodes: list[str]) -> None:
        ports = [node["address"].rsplit(":", 1)[1] for node in self.site.nodes()[0] if node["name"] in nodes]
        self._rule += 1
        place = str(self._rule)
        for port in ports:
            who = ["uidrange", f"{account}-{account}", "ipproto", "tcp", "dport", port]
            subprocess.run(["ip", "rule", "add", "pref", place, *who, "blackhole"], check=True)

        def undo() -> None:
            for _ in ports:
                subprocess.run(["ip", "rule", "del", "pref", place], check=True)

        fault.undo = undo

    def _disk_full(self, fault: Fault) -> None:
        """It fills up, the last tenth of it within twenty seconds, stays full for a while, and is emptied.

        Not faster: a node is judged by three looks in a row, and each takes 3 s while another node is silent.
        """
        fault.seconds, fault.effect = self.site.chance.uniform(32, 42), False
        ballast, over = self.site.fleet.state / "nodes" / DISK / "ballast", threading.Event()

        def fill() -> None:
            with suppress(OSError), ballast.open("ab", buffering=0) as file:
                while not over.wait(0.1):
                    free = shutil.disk_usage(ballast.parent).free
                    fault.effect = fault.effect or free < FULL
                    file.write(bytes(DISK_BYTES // 20 if free > DISK_BYTES // 8 else DISK_BYTES // 2000))

        thread = threading.Thread(target=fill)
        thread.start()

        def undo() -> None:
            over.set()
            thread.join()
            ballast.unlink(missing_ok=True)

        fault.undo = undo


_NEEDS_NODE = {
    "node killed",
    "node stopped",
    "node slow",
    "node retired",
    "node drained",
    "node evacuated",
    "node ruined",
    "prober blind to one",
    "proxy cut off from one",
    "disk full",
}

_ALONE = {"node killed", "node stopped", "node slow", "node ruined", "proxy cut off from one"}
"""What the proxies leave out by themselves: it is done as well while no controller looks."""


def _kill(pid: int | None, number: int) -> bool:
    """Whether there was anybody to be told."""
    try:
        if pid:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    return pid is not None
