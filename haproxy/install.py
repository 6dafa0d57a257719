"""One HAProxy with all its files in one folder: started, changed, checked for drift, stopped."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from haproxy import folder as files
from haproxy import old_workers, process
from haproxy.diff import BACKENDS, Line, Observed, Plan, Reload, between, changes, observed
from haproxy.errors import ConfigRefused, FolderUnusable, PortTaken, ProxyDown, ProxyError, ReloadFailed
from haproxy.model import Edge
from haproxy.render import CONFIG, bind_line, is_address, render_files
from haproxy.runtime import MASTER, Runtime
from machine.ports import hindrance

LOADED = "loaded"
"""Holds the digest of the certificates that the current worker has read."""
START_SECONDS, RELOAD_SECONDS, CHECK_SECONDS, STOP_SECONDS = 15.0, 20.0, 30.0, 10.0
LEAVE_SECONDS = 2.0
"""Patience with an old worker that does not know yet that it is one, and still goes by what it knows."""


@dataclass(frozen=True)
class Applied:
    """What an apply did: the plan carried out, and the worker that serves now."""

    plan: Plan
    worker: int

    @property
    def changed(self) -> bool:
        return bool(self.plan.steps)


class Proxy:
    """One HAProxy in master-worker mode. A new object on the same folder adopts the process that runs there.

    All calls block for at most about half a minute and raise a ProxyError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.runtime = Runtime(self.folder)

    def running(self) -> bool:
        """Whether the master lives."""
        return process.recorded(self.folder) is not None

    def start(self, edge: Edge) -> Applied:
        """Bring the proxy up with this edge, or adopt the one that runs and apply the edge to it."""
        with files.locked(self.folder, _folder_mode(edge)):
            if self.running() or self._adopted():
                return self._apply(edge)
            self._install(render_files(edge))
            check_free(edge.listen, edge.port)
            check_free("127.0.0.1", edge.stats_port)
            with self._vouched(edge):
                self._launch()
            return Applied(Plan((Reload("the proxy was not running"),)), self.runtime.worker())

    def revive(self) -> bool:
        """Start again, from the files that are there, a proxy that is gone and was not stopped; whether it was so."""
        if not process.fell(self.folder):
            return False
        with files.locked(self.folder, self.folder.stat().st_mode & 0o777):
            if not process.fell(self.folder) or self._adopted():
                return False  # somebody else was faster
            self._launch()
        return True

    def stop(self, grace: float = STOP_SECONDS) -> None:
        """End the proxy: running requests get up to half of `grace` seconds; then it is told again, then killed."""
        if not self.folder.is_dir():
            return
        with self._undisturbed():
            if not self.running():
                self._adopted()
            if master := process.recorded(self.folder):
                process.end(master, self._workers(), grace)
            process.forget(self.folder)

    def apply(self, edge: Edge) -> Applied:
        """Make file and worker what the edge says, drift included.

        On failure the last good file is back in place, and what the worker does agrees with it again.
        """
        if not self.running():
            raise ProxyDown(f"no HAProxy runs in {self.folder}; start it first")
        with files.locked(self.folder, _folder_mode(edge)):
            return self._apply(edge)

    def drift(self, edge: Edge) -> list[str]:
        """Every difference between what should be and what is, one sentence each; empty when all agree."""
        if not self.running():
            return [f"HAProxy does not run in {self.folder}"]
        wanted = render_files(edge)
        found = files.read(self.folder, wanted)
        sentences = [
            f"file {name} differs from what it should be" for name in wanted if found.get(name) != wanted[name]
        ]
        if self._certificates_changed(edge):
            sentences.append("the certificate on disk is not the one that the worker has loaded")
        return sentences + describe(self.runtime.observe(), edge)

    def trim_log(self, limit: int = 50_000_000) -> bool:
        """Keep the log from filling the disk: call it now and then. `limit` in bytes; two files of that size stay."""
        with files.usable(self.folder):
            return process.trim_log(self.folder, limit)

    def _adopted(self) -> bool:
        """Take over a master that runs and is not recorded: whoever started it died before that was written down."""
        try:
            process.record(self.folder, self.runtime.processes().master)
        except (ProxyError, OSError):
            return False
        return self.running()

    def _apply(self, edge: Edge) -> Applied:
        before = self.runtime.observe()
        plan = self._plan(before, edge)
        last_good = files.read(self.folder, render_files(edge))
        if plan.reloads:
            if bind_line(edge) not in last_good.get(CONFIG, ""):
                check_free(edge.listen, edge.port)
            middle = between(before, edge)
            self._install(render_files(middle))
            self._or_restore(last_good, lambda: self._reload(edge))
        self._install(render_files(edge), validate=not plan.reloads)
        self._or_restore(last_good, lambda: self._carry_out(plan), worker_too=True)
        return Applied(plan, self.runtime.worker())

    def _carry_out(self, plan: Plan) -> None:
        for step in plan.steps:
            if not isinstance(step, Reload):
                self.runtime.carry_out(step)

    def _plan(self, before: Observed, edge: Edge) -> Plan:
        plan = changes(before, edge)
        if plan.reloads or not self._certificates_changed(edge):
            return plan
        return changes(replace(before, fingerprint=""), edge)

    def _install(self, wanted: dict[str, str], validate: bool = True) -> None:
        """Write the files that differ, the configuration only after HAProxy has accepted it."""
        found = files.read(self.folder, wanted)
        different = {name: text for name, text in wanted.items() if found.get(name) != text}
        if not different:
            return
        if validate:
            self._validate(wanted)
        files.write(self.folder, different)

    def _validate(self, wanted: dict[str, str]) -> None:
        """Let HAProxy itself judge the candidate, beside the good files and under other names."""
        trial = self.folder / "candidate"
        with files.usable(trial):
            trial.mkdir(mode=0o700, exist_ok=True)
        files.write(trial, wanted)
        command = [process.binary(), "-c", "-C", str(trial), "-f", CONFIG]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigRefused(f"HAProxy could not check its configuration: {error}") from error
        if result.returncode != 0:
            raise ConfigRefused(
                f"HAProxy refuses the new configuration ({_alerts(result.stderr)}); "
                f"the last good one stays; the refused one lies in {trial}"
            )

    def _reload(self, edge: Edge) -> None:
        with self._vouched(edge):
            self._renew_worker()

    def _renew_worker(self) -> None:
        """A new worker from the file that is there. Raises ReloadFailed when none took over."""
        before = self.runtime.processes()
        if refusal := self.runtime.order_reload():
            raise self._no_worker(_alerts(refusal))

        def taken_over() -> bool:
            if not self.running():  # whoever starts it again waits for our lock
                raise ReloadFailed(f"HAProxy in {self.folder} ended while it was reloaded; start it again")
            now = self.runtime.processes()
            if now.failed > before.failed:
                raise self._no_worker(self._last_alert())
            fresh = set(now.workers) - set(before.workers)
            return bool(fresh) and self.runtime.worker() in fresh

        if not _in_time(taken_over, RELOAD_SECONDS):
            raise ReloadFailed(
                f"no new worker answered within {RELOAD_SECONDS:.0f} s; see haproxy.log in {self.folder}"
            )
        with suppress(PermissionError):  # one that hangs answers nobody
            _in_time(lambda: not old_workers.listening(self.runtime), LEAVE_SECONDS)

    def _no_worker(self, why: str) -> ReloadFailed:
        return ReloadFailed(f"HAProxy in {self.folder} did not start a new worker ({why}); the old one serves on")

    def _or_restore(self, last_good: dict[str, str], action: Callable[[], None], worker_too: bool = False) -> None:
        """Put the files back when the action fails. worker_too: it may have done a part, so the worker loads them."""
        try:
            with files.usable(self.folder):
                action()
        except ProxyError:
            files.write(self.folder, last_good)
            if not worker_too or not self._renewed():
                (self.folder / LOADED).unlink(missing_ok=True)  # unknown now: the next apply reloads
            raise

    def _renewed(self) -> bool:
        try:
            self._renew_worker()
        except ProxyError:
            return False
        return True

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Alone with the folder; where it can't be written nobody else could start anything in it."""
        with ExitStack() as alone:
            with suppress(FolderUnusable):
                alone.enter_context(files.locked(self.folder, self.folder.stat().st_mode & 0o777))
            yield

    def _launch(self) -> None:
        log = self.folder / process.LOG
        start = log.stat().st_size if log.exists() else 0
        command = [process.binary(), "-W", "-C", str(self.folder), "-S", f"unix@{MASTER},mode,600", "-f", CONFIG]
        with files.usable(self.folder):
            child = process.launch(self.folder, command)
            process.record(self.folder, child.pid)

        def serves() -> bool:
            if child.poll() is not None:
                self._explain_death(log.read_bytes()[start:].decode(errors="replace"))
            return self.runtime.worker() in self.runtime.processes().workers

        if not _in_time(serves, START_SECONDS):
            child.kill()
            raise ProxyDown(f"HAProxy did not answer within {START_SECONDS:.0f} s after its start; see {log}")

    def _explain_death(self, output: str) -> None:
        if taken := re.search(r"cannot bind socket \((.*?)\) for \[(.*?)\]", output):
            raise PortTaken(
                f"the proxy can't have {taken[2]} ({taken[1]}); end what listens there or choose another port"
            )
        raise ConfigRefused(f"HAProxy ended at its start ({_alerts(output)}); see {process.LOG} in {self.folder}")

    def _last_alert(self) -> str:
        try:
            with (self.folder / process.LOG).open("rb") as log:
                log.seek(max(log.seek(0, os.SEEK_END) - 8000, 0))
                return _alerts(log.read().decode(errors="replace"))
        except FileNotFoundError:
            return "its log was deleted"

    def _workers(self) -> tuple[int, ...]:
        try:
            now = self.runtime.processes()
        except ProxyError:
            return ()
        return now.workers + now.old_workers

    def _certificates_changed(self, edge: Edge) -> bool:
        found = files.read(self.folder, {LOADED: ""})
        return found.get(LOADED) != _certificate_digest(edge)

    @contextmanager
    def _vouched(self, edge: Edge) -> Iterator[None]:
        """Note what a new worker has read, once it answers: who dies in between leaves no word that it was read."""
        digest = _certificate_digest(edge)
        (self.folder / LOADED).unlink(missing_ok=True)
        yield
        with suppress(FolderUnusable):  # unknown, then: the next apply reloads
            files.write(self.folder, {LOADED: digest})


def describe(actual: Observed, edge: Edge) -> list[str]:
    """Differences between a worker and an edge, one sentence each."""
    wanted = observed(edge)
    sentences = list(actual.unexpected)
    if actual.fingerprint != wanted.fingerprint:
        sentences.append("the worker runs another configuration than the edge asks for")
    names = {server.slot for server in edge.servers if not is_address(server.host)}
    for backend in BACKENDS:
        have, want = getattr(actual, backend), getattr(wanted, backend)
        for slot in sorted(set(have) | set(want)):
            line = have.get(slot)
            if line and slot in names and want.get(slot):
                line = replace(line, host=want[slot].host, port=want[slot].port)
            if line and slot in want:
                line = _own_part(backend, line, want[slot])
            if line != want.get(slot):
                sentences.append(f"server {backend}/n{slot} is {line}, should be {want.get(slot)}")
    if dict(actual.slots_map) != dict(wanted.slots_map):
        sentences.append(f"the slots' map holds {dict(actual.slots_map)}, should be {dict(wanted.slots_map)}")
    return sentences


def _own_part(backend: str, line: Line, wanted: Line) -> Line:
    """A line as if it agreed in what it can't say for itself: the pool has the state of all, and three have weights."""
    match backend:
        case "pool":
            return line
        case "reads" | "anyhow":
            return replace(wanted, host=line.host, port=line.port, weight=line.weight)
        case _:
            return replace(wanted, host=line.host, port=line.port)


def check_free(host: str, port: int) -> None:
    """Raise PortTaken when somebody listens there.

    HAProxy itself would not notice another HAProxy of the same account: both listen with SO_REUSEPORT, and the kernel
    deals out connections between them.
    """
    if why := hindrance(host, port):
        raise PortTaken(
            f"port {port} on {host} can't be used by the proxy ({why}); end what listens there or choose another port"
        )


def _folder_mode(edge: Edge) -> int:
    """The worker must pass through the folder to its sockets, but read nothing in it once it is another user."""
    return 0o711 if edge.run_as else 0o700


def _certificate_digest(edge: Edge) -> str:
    paths = {edge.certificate, *(server.ca_file for server in edge.servers if server.ca_file)}
    total = hashlib.sha256()
    for path in sorted(paths):
        try:
            total.update(path.read_bytes())
        except OSError as error:
            raise ConfigRefused(f"the certificate {path} can't be read ({error.strerror}); put it there") from error
    return total.hexdigest()


def _alerts(output: str) -> str:
    """What HAProxy complains about, without its line prefixes."""
    found = re.findall(r"\[ALERT\]\s*\(\d+\)\s*:\s*(.+)", output)
    return " / ".join(text.removeprefix("config : ").strip() for text in found[-4:])[:600] or output.strip()[-300:]


def _in_time(check: Callable[[], bool], seconds: float) -> bool:
    """Whether the check came true before the deadline; silence of the sockets meanwhile is expected."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if check():
                return True
        except ProxyDown:
            pass
        time.sleep(0.03)
    return False
