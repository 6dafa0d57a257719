"""A short run of the fuzzer; the long one is `python -m tests.process.edge.fuzz`."""

from __future__ import annotations

from pathlib import Path

from tests.process.edge.conftest import running_site
from tests.process.edge.fuzz import fuzz


def test_three_thousand_mutations_forge_nothing(tmp_path: Path) -> None:
    with running_site(tmp_path, with_service=True) as site:
        statuses, faults = fuzz(site, 3000, seed=7)
    assert faults == []
    assert statuses[200] > 300
    assert statuses[400] > 300
