"""What is written down before the files of a node go."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.effects import _remove
from controller.nodes.driver import NodeError, NodeSpec
from tests.contract.fake_driver import FakeDriver


def test_the_ids_that_it_gave_out_are_known_before_its_files_go(tmp_path: Path) -> None:
    """Who removes it may be killed before anybody hears of it."""
    spec = NodeSpec("node-1", 1, 1_000_001, "127.0.0.1", 1, tmp_path)
    told: list[tuple[int, int]] = []

    class Killed(FakeDriver):
        def highest_id(self, spec: NodeSpec) -> int:
            return 1_000_007

        def remove(self, spec: NodeSpec) -> None:
            raise NodeError("killed")

    with pytest.raises(NodeError, match="killed"):
        _remove(
            Killed(), spec, lambda alive: None, lambda node: None, lambda slot, highest: told.append((slot, highest))
        )
    assert told == [(1, 1_000_007)]
