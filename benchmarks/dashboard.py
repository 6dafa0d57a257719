"""The dashboard before a large fleet: first content, server time of a refresh, memory with viewers that stay.

    python -m benchmarks.dashboard [--jobs 10000000] [--minutes 3] [--viewers 5] [--keep FOLDER]

The real dashboard, in its own process behind the real front door, over TLS; the fleet is a database that is written to
all the time as a controller would. Viewers speak Streamlit's protocol as its page does: they load the page, run it, and
run each of its parts again as often as it asks for. Server time is from such a request to the message that it is done.
--keep: a folder for the database, which takes some minutes to build and about a kilobyte a job; it is used again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

from playwright.sync_api import Playwright, sync_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.costs import months, timed
from benchmarks.dashboard_data import NODES, QUEUES, Passes, build
from controller import processes
from controller.ports import Ports
from controller.services import Services
from controller.state import State
from controller.store import Store
from controller.users import Users
from controller.views import Views
from haproxy.install import Proxy
from tests.browser.wire import Wire, session
from tests.process.edge.door import Client, make_edge

PASS_EVERY = 4.0
"""Seconds after a pass before the next one; over 1,000 nodes with 500 queues each one takes more than a second."""
PAGES = ("fleet", "jobs", "costs", "events", "scaling")
BROWSERS = 3
"""Cold starts of a browser, of which the median is told."""
TIMES = 5
"""How often each question to the database is timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--viewers", type=int, default=5)
    parser.add_argument("--keep", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dashboard-") as name:
        state = State((options.keep or Path(name)) / "state")
        state.prepare()
        _database(state, options.jobs)
        lock = state.lock()  # the dashboard is told by it that a controller runs
        questions(state)
        with passes(state), dashboard(state, Path(name)) as site:
            browsers(site)
            pages(site)
            stay(site, options.viewers, options.minutes)
        os.close(lock)


def _database(state: State, jobs: int) -> None:
    if not state.users.exists():
        Users(state.users).begin([("admin", "admin", True), ("user7", "user7", False)])
    if (state.folder / "built").exists():
        return
    with Store(state.database, create=True) as store:
        begun = time.monotonic()
        build(store, jobs)
        print(
            f"database of {jobs:,} jobs, {NODES:,} nodes, {QUEUES} queues: {time.monotonic() - begun:.0f} s to make it"
        )
    (state.folder / "built").touch()


# The database


def questions(state: State) -> None:
    """What the pages ask, asked directly."""
    with Store(state.database, create=True) as store:
        Passes(store).write()
    with Store(state.database) as store:
        views, now = Views(state, store), time.time()
        today = date.today()  # noqa: DTZ011  (as its reader's)
        month, year, tomorrow = today.replace(day=1), today.replace(month=1, day=1), today + timedelta(1)
        asked: dict[str, Callable[[], object]] = {
            "status": views.status,
            "today": lambda: views.today(now),
            "wait_ahead": views.wait_ahead,
            "series of an hour": lambda: views.series(now - 3600, now),
            "series of 30 days": lambda: views.series(now - 30 * 86_400, now),
            "jobs, open": views.jobs,
            "jobs, cancelled, of a printer": lambda: views.jobs(state="canceled", printer="printer7"),
            "jobs_of a person, with costs": lambda: views.jobs_of("user7", "all"),
            "costs by user, this month": lambda: views.costs("user", month, tomorrow, 50),
            "costs by user, this year": lambda: views.costs("user", year, tomorrow, 50),
            "costs by user, 24 months one by one, each": lambda: [views.costs("user", *one, 50) for one in months()],
            "costs by user, last 30 days": lambda: views.costs("user", today - timedelta(30), tomorrow, 50),
            "costs by department, last 30 days": lambda: views.costs("department", today - timedelta(30), tomorrow, 50),
            "costs by month, ever": lambda: views.costs("month", date(2020, 1, 1), tomorrow),
            "cost_rows of a printer, this year": lambda: views.cost_rows(year, tomorrow, printer="printer7"),
            "idle_cost, this year": lambda: views.idle_cost(year, tomorrow),
            "events": views.events,
            "events, searched": lambda: views.events(text="4.3 open"),
            "probes of a node": lambda: views.probes("node-7"),
            "scaling": views.scaling,
        }
        print("| question | ms | of processor time |\n| --- | ---: | ---: |")
        for name, ask in asked.items():
            each = 24 if name.endswith("each") else 1
            took = [timed(ask) for _ in range(TIMES)]
            wall, used = (statistics.median(one[place] for one in took) * 1000 / each for place in (0, 1))
            print(f"| {name} | {wall:.1f} | {used:.1f} |", flush=True)


# What runs


@contextmanager
def passes(state: State) -> Iterator[None]:
    """A controller's writing, in a process of its own."""
    fork = multiprocessing.get_context("fork")
    done = fork.Event()
    writer = fork.Process(target=_write, args=(state, done))
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def _write(state: State, done: Event) -> None:
    with Store(state.database) as store:
        made = Passes(store)
        while not done.wait(PASS_EVERY):
            made.write()


@dataclass
class Site:
    state: State
    port: int
    pid: int
    """Of the dashboard."""

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/fleet/"

    def memory(self) -> float:
        """Resident megabytes of the dashboard."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def dashboard(state: State, folder: Path) -> Iterator[Site]:
    with Store(state.database) as store:
        service = Services(state, Ports(store))._dashboard()
    record, proxy = folder / "dashboard.json", Proxy(folder / "proxy")
    folder.chmod(0o755)
    edge = make_edge(folder, [], dashboard_port=service.port, secret=state.secret(), users=Users(state.users).all())
    processes.spawn(service.command, record, folder / "log", {**os.environ, **dict(service.environment)})
    pid = processes.recorded_pid(record)
    assert pid is not None
    try:
        proxy.start(edge)
        site = Site(state, edge.port, pid)
        deadline = time.monotonic() + 60
        while Client(site.port, "admin", "admin").send(method="GET", path="/fleet/").status != 200:
            assert time.monotonic() < deadline, "the dashboard does not answer"
            time.sleep(0.2)
        yield site
    finally:
        proxy.stop(grace=1)
        processes.end(record)


# Viewers


@dataclass
class Viewer:
    """What Streamlit's page does, without a screen."""

    site: Site
    name: str = "admin"
    wire: Wire = field(init=False)
    parts: dict[str, float] = field(default_factory=dict)
    """Fragments that ask to be run again, and how often, in seconds."""
    page: str = ""
    """Hash of its script."""
    open_until: ExitStack = field(default_factory=ExitStack)

    def open(self, path: str = "") -> float:
        """Load the page and run it; seconds until its first content."""
        begun = time.perf_counter()
        answer = Client(self.site.port, self.name, self.name).send(method="GET", path="/fleet/")
        assert answer.status == 200, answer.body
        self.wire = self.open_until.enter_context(session(self.site.port, self.name, self.name))
        message = BackMsg()
        message.rerun_script.page_name = path
        message.rerun_script.context_info.timezone = "Europe/Berlin"
        message.rerun_script.context_info.locale = "en-GB"
        self.wire.send(message)
        self._until_done()
        return time.perf_counter() - begun

    def again(self, part: str) -> float:
        """Run a part of the page again; seconds of server time."""
        begun, message = time.perf_counter(), BackMsg()
        message.rerun_script.page_script_hash = self.page
        message.rerun_script.fragment_id = part
        message.rerun_script.is_auto_rerun = True
        self.wire.send(message)
        self._until_done()
        return time.perf_counter() - begun

    def _until_done(self) -> None:
        while True:
            message = self.wire.receive()
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.page = message.new_session.page_script_hash
            elif kind == "auto_rerun":
                self.parts[message.auto_rerun.fragment_id] = message.auto_rerun.interval
            elif kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
                raise RuntimeError(message.delta.new_element.exception.message)
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return

    def stay(self, until: float, took: list[float]) -> None:
        """Refresh as the page asks for, until then (monotonic seconds)."""
        due = {part: time.monotonic() + every for part, every in self.parts.items()}
        while due and time.monotonic() < until:
            part = min(due, key=lambda one: due[one])
            time.sleep(max(0.0, due[part] - time.monotonic()))
            took.append(self.again(part))
            due[part] = max(due[part] + self.parts.get(part, 2.0), time.monotonic())


def pages(site: Site) -> None:
    print("| page | first content, ms | a refresh of all its parts, ms |\n| --- | ---: | ---: |")
    for name, path in [*(("admin", path) for path in PAGES), ("user7", "")]:
        opened, refreshed = [], []
        for _ in range(TIMES):
            viewer = Viewer(site, name)
            opened.append(viewer.open(path))
            refreshed.append(sum(viewer.again(part) for part in list(viewer.parts)))
            viewer.open_until.close()
        first, again = statistics.median(opened) * 1000, statistics.median(refreshed) * 1000
        print(f"| {path or 'my jobs'} | {first:.0f} | {again:.0f} |", flush=True)


def stay(site: Site, count: int, minutes: float) -> None:
    """Viewers of the first page who stay."""
    viewers = [Viewer(site) for _ in range(count)]
    for viewer in viewers:
        viewer.open()
    took: list[float] = []
    begun, used = time.monotonic(), site.cpu()
    until = begun + 60 * minutes
    threads = [threading.Thread(target=viewer.stay, args=(until, took)) for viewer in viewers]
    for thread in threads:
        thread.start()
    memory = []
    while time.monotonic() < until:
        memory.append(site.memory())
        time.sleep(min(10.0, max(0.1, until - time.monotonic())))
    for thread in threads:
        thread.join()
    for viewer in viewers:
        viewer.open_until.close()
    passed = time.monotonic() - begun
    took.sort()
    spread = f"{_at(took, 0.5):.0f} ms (median), {_at(took, 0.95):.0f} ms (95 %), {took[-1] * 1000:.0f} ms at most"
    share = (site.cpu() - used) / passed
    print(
        f"{count} viewers for {passed / 60:.1f} min: {len(took)} refreshes, server time {spread}; {share:.2f} of a core"
    )
    quarters = [memory[min(len(memory) - 1, len(memory) * part // 4)] for part in range(5)]
    told = ", ".join(f"{megabytes:.0f}" for megabytes in quarters)
    print(
        f"memory, MB, at the beginning and after each quarter of the time: {told}; {max(memory):.0f} at most",
        flush=True,
    )


def _at(sorted_times: list[float], share: float) -> float:
    return sorted_times[int(share * (len(sorted_times) - 1))] * 1000


MOMENTS = {
    "first words": "#first-words h1, .stApp h1",
    "heading": ".stApp h1",
    "figures": ".stApp .figures",
    "nodes": "[class*=st-key-row-]",
    "chart": ".stVegaLiteChart :is(canvas, svg)",
}
"""What is waited for, in the order in which it comes, by selector."""


def browsers(site: Site) -> None:
    """A browser that starts cold, beside one that opens a Streamlit page of a single word."""
    with hello() as bare, sync_playwright() as playwright:
        found: dict[str, list[float]] = {}
        for _ in range(BROWSERS):
            for url, moments in ((bare, {"a bare Streamlit page": ".stMarkdown p"}), (site.url, MOMENTS)):
                for name, took in _opened(playwright, url, moments):
                    found.setdefault(name, []).append(took)
    print(f"| cold Chromium, median of {BROWSERS} | s |\n| --- | ---: |")
    for name, times in found.items():
        print(f"| {name} | {statistics.median(times):.2f} |", flush=True)


def _opened(playwright: Playwright, url: str, moments: dict[str, str]) -> list[tuple[str, float]]:
    """Seconds from the address to each moment."""
    # Not by Playwright's ignore_https_errors: that lets each connection fail once before it counts as good.
    arguments = ["--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"]
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
    page = browser.new_context(http_credentials={"username": "admin", "password": "admin"}).new_page()
    begun, found = time.perf_counter(), []
    page.goto(url, wait_until="commit")
    for name, selector in moments.items():
        page.locator(selector).first.wait_for(timeout=60_000)
        found.append((name, time.perf_counter() - begun))
    browser.close()
    return found


@contextmanager
def hello() -> Iterator[str]:
    """The smallest Streamlit page there is; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hello-") as name:
        script, record = Path(name) / "hello.py", Path(name) / "hello.json"
        script.write_text('import streamlit as st\nst.write("hello")\n')
        options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
        options += ["--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]
        command = (sys.executable, "-m", "streamlit", "run", str(script), *options)
        processes.spawn(command, record, Path(name) / "log", dict(os.environ))
        try:
            _until_it_listens(port)
            yield f"http://127.0.0.1:{port}/"
        finally:
            processes.end(record)


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the bare page does not come up"
            time.sleep(0.2)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        raise SystemExit(str(error)) from None
