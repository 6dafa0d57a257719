"""What a campaign takes for something that its controller can't have seen."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.campaign import LOOKS, unseen
from benchmarks.faults import Fault
from benchmarks.sandbox import DISK

FULL = Fault("disk full", (DISK,), begun=100.0, ended=140.0)
KILLED = Fault("controller killed", begun=110.0, ended=112.0)


def test_a_full_disk_is_unseen_while_the_controller_is_blind_to_it_and_until_it_has_looked_again() -> None:
    def found(*blind: Fault) -> list[tuple[int, float, float]]:
        return unseen([FULL, *blind], {DISK: 1})

    assert found() == []
    assert found(KILLED) == [(1, 110.0, 112.0 + LOOKS)]
    assert found(replace(KILLED, begun=90.0, ended=95.0)) == [(1, 100.0, 95.0 + LOOKS)]
    assert found(replace(KILLED, begun=90.0, ended=139.0)) == [(1, 100.0, 140.0)]
    assert found(replace(KILLED, effect=False)) == []
    assert found(replace(KILLED, begun=60.0, ended=70.0)) == []
    blind = replace(KILLED, kind="prober blind to one", nodes=("node-2",))
    assert found(blind) == []
    assert found(replace(blind, nodes=(DISK,))) == [(1, 110.0, 112.0 + LOOKS)]
    assert unseen([replace(FULL, effect=False), KILLED], {DISK: 1}) == []
