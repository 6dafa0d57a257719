"""Markers by folder, so that a test's place says what it needs; and nothing is left out, or tried twice, unheard."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # how long a test takes says how busy the machine is
hypothesis.settings.load_profile("untimed")

KINDS = ("unit", "contract", "process", "browser")
SECOND_CHANCES = 2
"""How many tests with real processes, each of which all others on the machine may delay, may pass only when run again,
in a whole run (`.ci/run` sets CI). What they said first is printed. One more, and the run has failed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = Path(item.path).relative_to(Path(__file__).parent).parts[0]
        if kind in KINDS:
            item.add_marker(kind)
        if kind in ("process", "browser") and os.environ.get("CI"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A second try has a time limit too: pytest-timeout takes its own back at the first failure."""
    if getattr(item, "execution_count", 1) > 1:
        timeouts: Any = item.config.pluginmanager.get_plugin("timeout")
        timeouts.pytest_timeout_set_timer(item, timeouts._get_item_settings(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything can run (`.ci/run` sets CI), a test that is skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome, report.longrepr = "failed", f"skipped, and here it must run: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failures = _first_failures(terminalreporter)
    for report in failures:
        terminalreporter.section(f"run again, since it failed first: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
    if _too_many(failures):
        terminalreporter.write_line(
            f"More than {SECOND_CHANCES} tests had to be run again: that is a failure.", red=True
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and _too_many(_first_failures(reporter)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _first_failures(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    return list(reporter.stats.get("rerun", []))


def _too_many(failures: list[pytest.TestReport]) -> bool:
    return len({report.nodeid for report in failures}) > SECOND_CHANCES
