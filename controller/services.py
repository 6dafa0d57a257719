"""The programs beside the nodes and proxies: the dashboard, the service for the whole queue, the virtual printers, the
proxies' keeper.

They are processes of their own, outlive the controller, and are found again by the next one.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from controller import certificate, processes
from controller.addresses import own_address
from controller.config import Printer, Settings
from controller.ports import Ports
from controller.state import State
from machine.ports import free

PYTHON = (sys.executable, "-P", "-m")
"""-P: a file of the caller's working folder is never taken for one of our modules."""
SETTLED = 10.0
"""Seconds after which a started service counts as running well."""
NO_PORT = 0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two starts of a service that keeps ending; doubled each time."""


@dataclass(frozen=True)
class Service:
    """A program that should run. `part` names its port in controller.ports; NO_PORT for one that listens nowhere."""

    name: str
    part: str
    port: int
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def record_name(self) -> str:
        """Changes with the command, so that a service that should run differently counts as not running."""
        text = repr((self.command, self.environment))
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


@dataclass
class _Attempt:
    """The last start of a service. Times are monotonic seconds."""

    at: float
    pause: float = FIRST_PAUSE


@dataclass
class Services:
    state: State
    ports: Ports
    _attempts: dict[str, _Attempt] = field(default_factory=dict)
    _problems: dict[str, str] = field(default_factory=dict)

    def device(self, printer: Printer) -> str:
        """The device URI of a printer's queue: a virtual one's leads to its sink."""
        if printer.device != "virtual":
            return printer.device
        return f"socket://127.0.0.1:{self.ports.of(_sink(printer.name))}"

    def problems(self) -> list[str]:
        return list(self._problems.values())

    def hindrances(self) -> list[str]:
        """Those problems that keep documents from being printed."""
        return [said for name, said in self._problems.items() if name.startswith(_sink(""))]

    def ensure(self, settings: Settings, in_use: Iterable[str] = ()) -> list[str]:
        """Start what should run and does not, end what should not. Returns what was done, in words.

        in_use: queues with open jobs. The sink of one that is configured no longer stays until they are printed.
        """
        wanted = list(self._wanted(settings, in_use))
        said = self._end_surplus({service.record_name for service in wanted})
        for service in wanted:
            said += self._ensure(service)
        return said

    def _ensure(self, service: Service) -> list[str]:
        """One that keeps ending is started less and less often; one whose port was taken moves to another."""
        now = time.monotonic()
        last = self._attempts.get(service.name)
        if processes.running(self.state.processes / service.record_name):
            if last and now - last.at > SETTLED:
                self._attempts.pop(service.name)
                self._problems.pop(service.name, None)
            return []
        if last and now - last.at < last.pause:
            return []
        again = last is not None and now - last.at < SETTLED + last.pause
        self._attempts[service.name] = _Attempt(
            now, min(2 * last.pause, LONGEST_PAUSE) if last and again else FIRST_PAUSE
        )
        log = self.state.logs / f"{service.name}.log"
        if last and again:
            self._problems[service.name] = f"{service.name} ends right after its start; see {log}"
        if service.port != NO_PORT and not free("127.0.0.1", service.port):
            self.ports.move(service.part)
            return [f"port {service.port} of {service.name} was taken; it moves to another one"]
        return self._start(service, log)

    def _start(self, service: Service, log: Path) -> list[str]:
        environment = {**os.environ, **dict(service.environment)}
        try:
            processes.spawn(service.command, self.state.processes / service.record_name, log, environment)
        except OSError as error:
            self._problems[service.name] = f"{service.name} can't be started: {error}"
            return []
        return [f"{service.name} is started"]

    def _end_surplus(self, wanted: set[str]) -> list[str]:
        said = []
        for record in self.state.processes.glob("*.json"):
            if record.name not in wanted:
                processes.end(record)
                said.append(f"{record.stem.rsplit('-', 1)[0]} is ended")
        return said

    def _wanted(self, settings: Settings, in_use: Iterable[str]) -> Iterator[Service]:
        for printer in settings.printers:
            if printer.device == "virtual":
                yield self._virtual_printer(printer.name, settings)
        for queue in sorted(set(in_use) - {printer.name for printer in settings.printers}):
            if self.ports.known(_sink(queue)):
                yield self._virtual_printer(queue, settings)
        yield self._dashboard()
        yield self._whole_queue(settings)
        yield Service("keeper", "keeper", NO_PORT, (*PYTHON, "haproxy.keeper", str(self.state.folder.absolute())))

    def _virtual_printer(self, queue: str, settings: Settings) -> Service:
        part = _sink(queue)
        port = self.ports.of(part)
        speed = settings.virtual_printer
        options = ["--folder", str(self.state.printed / queue), "--port", str(port)]
        options += ["--pages-per-minute", str(speed.pages_per_minute), "--parallel", speed.parallel]
        return Service(part, part, port, (*PYTHON, "controller.virtual_printer", *options))

    def _dashboard(self) -> Service:
        folder = resources.files("dashboard")
        port = self.ports.of("dashboard")
        options = {
            "server.address": "127.0.0.1",
            "server.port": str(port),
            "server.baseUrlPath": "fleet",
            "server.headless": "true",
            "server.fileWatcherType": "none",
            "server.enableCORS": "true",
            "server.enableXsrfProtection": "true",
            "runner.magicEnabled": "false",
            "server.enableAgentApi": "false",
            "browser.gatherUsageStats": "false",
            "client.toolbarMode": "viewer",
            "client.showErrorDetails": "none",
            "theme.base": str(folder / "theme.toml"),
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        command = (*PYTHON, "streamlit", "run", str(folder / "server.py"), *arguments)
        return Service("dashboard", "dashboard", port, command, (("CUPSFLEET_STATE_DIR", str(self.state.folder)),))

    def _whole_queue(self, settings: Settings) -> Service:
        name = "whole-queue"
        port = self.ports.of(name)
        options = ["--state", str(self.state.folder.absolute()), "--port", str(port)]
        options += ["--deadline", str(settings.whole_queue.deadline)]
        if source := own_address(settings):
            options += ["--source", source]
        if authorities := certificate.trusted(settings.nodes.ca_file, self.state.certificate)[0]:
            options += ["--ca-file", str(authorities.absolute())]
        return Service(name, name, port, (*PYTHON, "controller.whole_queue", *options))


def _sink(queue: str) -> str:
    """The part of the fleet that prints a queue's documents to a folder."""
    return f"printer-{queue}"


def end_all(state: State) -> None:
    for record in state.processes.glob("*.json"):
        processes.end(record)
