"""The programs beside the nodes and proxies: the dashboard and the virtual printers.

They are processes of their own, outlive the controller, and are found again by the next one.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from controller import processes
from controller.config import Printer, Settings
from controller.ports import Ports
from controller.state import State


@dataclass(frozen=True)
class Service:
    """A program that should run."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def record_name(self) -> str:
        """Changes with the command, so that a service that should run differently counts as not running."""
        text = repr((self.command, self.environment))
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


@dataclass(frozen=True)
class Services:
    state: State
    ports: Ports

    def device(self, printer: Printer) -> str:
        """The device URI of a printer's queue: a virtual one's leads to its sink."""
        if printer.device != "virtual":
            return printer.device
        return f"socket://127.0.0.1:{self.ports.of(f'printer-{printer.name}')}"

    def ensure(self, settings: Settings) -> list[str]:
        """Start what should run and does not, end what should not. Returns what was done, in words."""
        wanted = list(self._wanted(settings))
        said = self._end_surplus({service.record_name for service in wanted})
        for service in wanted:
            record = self.state.processes / service.record_name
            if not processes.running(record):
                log = self.state.logs / f"{service.name}.log"
                processes.spawn(service.command, record, log, {**os.environ, **dict(service.environment)})
                said.append(f"{service.name} is started")
        return said

    def _end_surplus(self, wanted: set[str]) -> list[str]:
        said = []
        for record in self.state.processes.glob("*.json"):
            if record.name not in wanted:
                processes.end(record)
                said.append(f"{record.stem.rsplit('-', 1)[0]} is ended")
        return said

    def _wanted(self, settings: Settings) -> Iterator[Service]:
        for printer in settings.printers:
            if printer.device == "virtual":
                yield self._virtual_printer(printer, settings)
        yield self._dashboard()

    def _virtual_printer(self, printer: Printer, settings: Settings) -> Service:
        port = self.ports.of(f"printer-{printer.name}")
        speed = settings.virtual_printer
        options = ["--folder", str(self.state.printed / printer.name), "--port", str(port)]
        options += ["--pages-per-minute", str(speed.pages_per_minute), "--parallel", speed.parallel]
        command = (sys.executable, "-m", "controller.virtual_printer", *options)
        return Service(f"printer-{printer.name}", command)

    def _dashboard(self) -> Service:
        app = resources.files("dashboard") / "app.py"
        options = {
            "server.address": "127.0.0.1",
            "server.port": str(self.ports.of("dashboard")),
            "server.baseUrlPath": "fleet",
            "server.headless": "true",
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": "false",
            "client.toolbarMode": "viewer",
            "client.showErrorDetails": "none",
            "theme.primaryColor": "#1f6f8b",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        command = (sys.executable, "-m", "streamlit", "run", str(app), *arguments)
        return Service("dashboard", command, (("CUPSFLEET_STATE_DIR", str(self.state.folder)),))


def end_all(state: State) -> None:
    for record in state.processes.glob("*.json"):
        processes.end(record)
