"""Changes of membership while people print, upload and read."""

from __future__ import annotations

from benchmarks.membership import lost, running_site, under_load


def test_a_hundred_changes_fail_no_request() -> None:
    with running_site() as site:
        tally, _ = under_load(site, changes=100, clients=4, uploads=2)
    assert lost(tally) == []
    assert {"add", "drain", "retire", "weight", "reload"} <= set(site.times.taken)
    assert tally.requests["upload, chunked"] > 1
    assert tally.requests["upload with a length"] > 1
