"""Markers by folder, so that a test's place says what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

KINDS = ("unit", "contract", "process", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = Path(item.path).relative_to(Path(__file__).parent).parts[0]
        if kind in KINDS:
            item.add_marker(kind)
