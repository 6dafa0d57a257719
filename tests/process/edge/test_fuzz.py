"""A short run of the fuzzer; the long one is `python -m tests.process.edge.fuzz`."""

from __future__ import annotations

from tests.process.edge.door import Site
from tests.process.edge.fuzz import fuzz


def test_three_thousand_mutations_forge_nothing(own_site: Site) -> None:
    statuses, faults = fuzz(own_site, 3000, seed=7)
    assert faults == []
    assert statuses[200] > 300
    assert statuses[400] > 300
