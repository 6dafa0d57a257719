"""Nodes that are stock cupsd, run as ordinary processes on this machine by root or by any user.

A node's folder:
    etc/      cupsd.conf, cups-files.conf, printers.conf, ppd/, ssl/, subscriptions.conf
    spool/    control files and documents of jobs          cache/   job.cache and the like
    run/      cups.sock: the way to administer it            log/     error_log, page_log, output
    bin/      links to /usr/lib/cups, and backends of ours              cupsd   a copy of the program
    costs/    what the backend in front of all devices wrote down (controller.costs.journal)
    operator  the name under which the controller handles jobs          process the record of the running cupsd

Invariants: a cupsd is started only when no process of its folder is left, and with counters past every id it gave.
"""

from __future__ import annotations

import compileall
import json
import os
import pwd
import secrets
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller import processes
from controller.config_values import holds_login
from controller.nodes import ids, settings
from controller.nodes.driver import NodeError, NodeSpec
from controller.nodes.queues import Queue
from machine.files import replace_file
from machine.ports import hindrance
from machine.programs import program
from probes.cups import Token

SERVER_BIN = Path("/usr/lib/cups")
SOCKET_BACKEND = Path(__file__).with_name("socket_backend.py")
NOT_LINKED = ("backend", "backend-available", "notifier")
"""Without notifiers nobody can make a node connect to an address of his choice, or send mail from it. Subscriptions
that are pulled need none."""
NOBODY = "cupsfleet"
"""The controller's name at a node that has not named its operator yet: it has no rights there."""
STOP_SECONDS = 4.0
"""A cupsd that was asked to end takes about 1.5 s; after this it is killed."""
START_SECONDS = 3.0
"""Longest wait for the port to be opened. It usually takes 0.1 s; a loaded machine gets the benefit of the doubt."""


@dataclass(frozen=True)
class Backend:
    """A program that nodes get as a CUPS backend of this name, in front of the stock one."""

    name: str
    program: Path
    as_root: bool = False
    """Mode 700 makes cupsd run it as root, if cupsd is."""
    in_front: bool = False
    """Whether it stands in front of every device: NAME:/DEVICE-URI."""
    modules: Mapping[str, Path] = field(default_factory=dict)
    """Python that it imports: files and folders, each with its place below bin/python."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What it reads at each run, as JSON in costs/NAME.json."""
    needs: tuple[Path, ...] = ()
    """Folders outside of the node's that it must be able to look into."""


class ProcessDriver:
    """Implements controller.nodes.driver.Driver.

    allow: addresses of proxies that may connect beside loopback. backends: programs of ours, for every node.
    cupsd: the program, if not the system's. met: is told the id of each server's process that is found alive.
    """

    owns_queues = True

    def __init__(
        self,
        *,
        allow: Sequence[str] = (),
        backends: Sequence[Backend] = (),
        cupsd: Path | None = None,
        met: Callable[[int], None] = lambda pid: None,
    ) -> None:
        self.met = met
        self.allow = tuple(allow)
        self.backends = tuple(backends)
        self.cupsd = cupsd

    def start(self, spec: NodeSpec) -> None:
        folder = _folder(spec)
        if self._adopted(spec, folder):
            return
        processes.end(_record(folder), STOP_SECONDS)
        self._end_leftovers(folder)
        try:
            self._prepare(spec, folder)
            processes.spawn(self._command(folder), _record(folder), _output(folder), _environment(folder), cwd=folder)
        except OSError as error:
            raise NodeError(f"{spec.name} could not be started in {folder}: {error}") from error
        if not _listens(spec, folder) and not processes.running(_record(folder)):
            raise NodeError(f"cupsd of {spec.name} ended at once: {_last_words(folder)}")

    def queue(self, queue: Queue) -> Queue:
        """With the backend that stands in front of every device but those that hold a login."""
        front = next((backend.name for backend in self.backends if backend.in_front), "")
        return queue if holds_login(queue.device) else replace(queue, front=front)

    def alive(self, spec: NodeSpec) -> bool | None:
        pid = processes.running_pid(_record(spec.folder.resolve()))
        if pid is not None:
            self.met(pid)
        return pid is not None

    def highest_id(self, spec: NodeSpec) -> int:
        folder = spec.folder.resolve()
        return ids.highest(folder / "cache", folder / "etc", folder / "spool")

    def stop(self, spec: NodeSpec) -> None:
        folder = spec.folder.resolve()
        processes.end(_record(folder), STOP_SECONDS)
        self._end_leftovers(folder)

    def remove(self, spec: NodeSpec) -> None:
        self.stop(spec)
        folder = spec.folder.resolve()
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            if folder.is_mount() and not any(folder.iterdir()):
                return  # a file system of its own, which whoever mounted it may take away
            raise NodeError(f"the folder of {spec.name} could not be removed: {error}") from error

    def room(self, spec: NodeSpec) -> tuple[int, int] | None:
        try:
            usage = shutil.disk_usage(spec.folder / "spool")
        except OSError:
            return None
        return usage.free, usage.total

    def outdated(self, spec: NodeSpec) -> bool:
        folder = spec.folder.resolve()
        wanted = settings.render(spec, folder, _operator(folder), self.allow)
        return processes.running(_record(folder)) and wanted.differ_from(folder)

    def token(self, spec: NodeSpec) -> Token:
        """How the controller talks to the node: administration over its socket, jobs under the operator's name."""
        folder = spec.folder.resolve()
        return Token(_operator(folder), socket=settings.admin_socket(folder))

    def _adopted(self, spec: NodeSpec, folder: Path) -> bool:
        """Whether the node runs already, and not only for as long as it takes to end.

        The files say what the running cupsd was started with, for they are only written before a start.
        """
        if not processes.running(_record(folder)):
            return False
        running = settings.read(folder)
        wanted = settings.render(spec, folder, _operator(folder), self.allow)
        if running and _addresses(running.cupsd) != _addresses(wanted.cupsd):
            raise NodeError(
                f"{spec.name} already runs in {folder}, but at {', '.join(_addresses(running.cupsd))} instead of "
                f"{spec.host}:{spec.port}: stop it before it is given another address"
            )
        return _listens(spec, folder)

    def _end_leftovers(self, folder: Path) -> None:
        try:
            processes.end_marked(settings.mark_of(folder))
        except TimeoutError as error:
            raise NodeError(f"leftovers of the server in {folder} can't be ended: {error}") from error

    def _prepare(self, spec: NodeSpec, folder: Path) -> None:
        _check_port_free(spec)
        _make_folders(folder)
        _name_operator(folder)
        files = settings.render(spec, folder, _operator(folder), self.allow)
        replace_file(folder / "etc/cupsd.conf", files.cupsd, 0o640)
        replace_file(folder / "etc/cups-files.conf", files.cups_files, 0o640)
        self._link_programs(folder)
        _drop_empty(folder / "etc/ssl")
        _refresh_copy(self._program(), folder / "cupsd")
        ids.prepare(folder / "cache", folder / "etc", folder / "spool", spec.next_id)

    def _command(self, folder: Path) -> list[str]:
        cupsd = [str(folder / "cupsd"), "-f", "-c", f"{folder}/etc/cupsd.conf", "-s", f"{folder}/etc/cups-files.conf"]
        barrier = first_barrier(folder) if os.geteuid() == 0 else None
        if barrier is None:
            return cupsd
        enclosure = Path(__file__).with_name("enclosure.py")
        shown = [f"--show={path}" for path in self._needs() if barrier in path.parents]
        return [sys.executable, "-I", "-S", str(enclosure), str(barrier), str(folder), *shown, *cupsd]

    def _needs(self) -> list[Path]:
        return [path.resolve() for backend in self.backends for path in backend.needs]

    def _program(self) -> Path:
        """The distribution's cupsd. A copy is run, since AppArmor profiles go by the path /usr/sbin/cupsd."""
        found = self.cupsd or program("cupsd")
        if found is None:
            raise NodeError("cupsd is not installed: apt-get install cups-daemon")
        return found

    def _link_programs(self, folder: Path) -> None:
        """Fill bin/: a link for each kind of program, and backend/ as a folder so that ours can stand beside."""
        shutil.rmtree(folder / "bin", ignore_errors=True)
        (folder / "bin/backend").mkdir(parents=True)
        for kind in sorted(SERVER_BIN.iterdir()):
            if kind.name not in NOT_LINKED:
                (folder / "bin" / kind.name).symlink_to(kind)
        for source in (SERVER_BIN / "backend-available", SERVER_BIN / "backend"):
            for stock in sorted(source.iterdir()) if source.is_dir() else ():
                link = folder / "bin/backend" / stock.name
                link.unlink(missing_ok=True)
                link.symlink_to(stock)
        stand_in = [] if (folder / "bin/backend/socket").exists() else [Backend("socket", SOCKET_BACKEND)]
        for backend in (*stand_in, *self.backends):
            place = folder / "bin/backend" / backend.name
            place.unlink(missing_ok=True)
            shutil.copyfile(backend.program, place)
            place.chmod(0o700 if backend.as_root else 0o755)
            _provide(backend, folder)


def first_barrier(folder: Path) -> Path | None:
    """The topmost folder above `folder` that the account lp, under which cupsd prints, may not enter."""
    try:
        account = pwd.getpwnam("lp")
    except KeyError:
        return None
    for ancestor in reversed(folder.parents):
        status = ancestor.stat()
        owned = status.st_uid == account.pw_uid and status.st_mode & stat.S_IXUSR
        grouped = status.st_gid == account.pw_gid and status.st_mode & stat.S_IXGRP
        if not (status.st_mode & stat.S_IXOTH or owned or grouped):
            return ancestor
    return None


def _make_folders(folder: Path) -> None:
    """cupsd sets modes and owners of what lies below; the folder itself must let lp through when root starts it."""
    for part in ("etc/ssl", "etc/ppd", "spool/tmp", "cache", "run", "log"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (folder / "etc/ssl").chmod(0o700)
    (folder / "log").chmod(0o700)


def _operator(folder: Path) -> str:
    """A name nobody can guess, kept for the life of the folder. It may be seen in a job's history: no password.

    Only read here: who asks about a node that is being removed must not make its folder again.
    """
    try:
        return (folder / "operator").read_text().strip()
    except FileNotFoundError:
        return NOBODY


def _name_operator(folder: Path) -> None:
    if _operator(folder) == NOBODY:
        replace_file(folder / "operator", f"fleet-{secrets.token_hex(16)}\n")


def _drop_empty(folder: Path) -> None:
    """cupsd takes a certificate that a full disk left empty for its own, and never makes another."""
    for file in folder.iterdir():
        if file.is_file() and file.stat().st_size == 0:
            file.unlink()


def _provide(backend: Backend, folder: Path) -> None:
    """Give a backend what it imports, compiled, and what it reads."""
    for name, source in backend.modules.items():
        copy = folder / "bin/python" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copyfile(source, copy)
    if backend.modules:
        compileall.compile_dir(folder / "bin/python", quiet=1)
    if backend.settings:
        (folder / "costs").mkdir(mode=0o700, exist_ok=True)
        replace_file(folder / f"costs/{backend.name}.json", json.dumps(dict(backend.settings)))


def _refresh_copy(source: Path, copy: Path) -> None:
    if copy.exists():
        ours, theirs = copy.stat(), source.stat()
        if (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns):
            return
    scratch = copy.with_name(".cupsd.new")
    shutil.copy2(source, scratch)
    scratch.chmod(0o755)
    scratch.replace(copy)


def _check_port_free(spec: NodeSpec) -> None:
    if why := hindrance(spec.host, spec.port):
        raise NodeError(f"{spec.name} can't listen on {spec.host}:{spec.port}: {why}")


def _listens(spec: NodeSpec, folder: Path) -> bool:
    """Whether the node's port is open, or will be soon; it is not when the process ends. A stopped one listens."""
    until = time.monotonic() + START_SECONDS
    while processes.running(_record(folder)) and time.monotonic() < until:
        try:
            socket.create_connection((spec.host, spec.port), timeout=0.2).close()
            return processes.running(_record(folder))
        except OSError:
            time.sleep(0.01)
    return False


def _last_words(folder: Path) -> str:
    for log in (_output(folder), folder / "log/error_log"):
        if log.exists() and (lines := log.read_text(errors="replace").strip().splitlines()):
            return " / ".join(lines[-3:])
    return f"it said nothing; see {folder}/log"


def _addresses(cupsd_conf: str) -> list[str]:
    return [line.split()[1] for line in cupsd_conf.splitlines() if line.startswith("Listen ")]


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", processes.MARK: settings.mark_of(folder)}


def _folder(spec: NodeSpec) -> Path:
    """The node's folder, resolved. Raises NodeError where no node can live."""
    folder = spec.folder.resolve()
    if trouble := settings.usable_path(folder):
        raise NodeError(trouble)
    return folder


def _record(folder: Path) -> Path:
    return folder / "process"


def _output(folder: Path) -> Path:
    return folder / "log/output"
