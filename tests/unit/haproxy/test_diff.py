"""Plans carried out on a model of HAProxy: they arrive, and stopping anywhere on the way is safe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from haproxy.diff import (
    DeclareDown,
    Enable,
    Line,
    Maintain,
    MapSlot,
    Observed,
    Reload,
    SetAddress,
    SetWeight,
    Step,
    UnmapSlot,
    between,
    changes,
    observed,
)
from haproxy.model import Edge, Server
from tests.unit.haproxy.test_render import EDGE

SLOTS = 4


@st.composite
def edges(draw: st.DrawFn) -> Edge:
    slots = draw(st.sets(st.integers(1, SLOTS)))
    servers = tuple(
        Server(
            slot,
            "127.0.0.1",
            draw(st.sampled_from([7001, 7002])),
            draw(st.sampled_from([0, 50, 100])),
            draw(st.sampled_from([None, None, None, Path("/ca.pem")])),
        )
        for slot in sorted(slots)
    )
    return replace(EDGE, servers=servers, max_slots=SLOTS, stats_port=draw(st.sampled_from([1000, 1000, 1001])))


@st.composite
def drifted(draw: st.DrawFn) -> Observed:
    """A worker that somebody else has changed, too."""
    base = observed(draw(edges()))

    def line(slot: int, own: Line) -> Line:
        if draw(st.integers(0, 3)):
            return own
        return Line(
            "127.0.0.1", draw(st.sampled_from([1, 7001, 9999])), draw(st.sampled_from([0, 7])), draw(st.booleans())
        )

    pool = {slot: line(slot, own) for slot, own in base.pool.items()}
    reads = {slot: line(slot, own) for slot, own in base.reads.items()}
    anyhow = {slot: line(slot, own) for slot, own in base.anyhow.items()}
    owner = {slot: line(slot, own) for slot, own in base.owner.items()}
    slots_map = dict(base.slots_map) | draw(
        st.dictionaries(st.integers(1, 9), st.sampled_from(["n1", "n9"]), max_size=2)
    )
    return Observed(base.fingerprint, pool, reads, anyhow, owner, slots_map)


@dataclass
class Slot:
    pool: tuple[str, int]
    reads: tuple[str, int]
    anyhow: tuple[str, int]
    owner: tuple[str, int]
    weight: int
    weight_for_reads: int
    weight_anyhow: int
    maintenance: bool
    drained: bool
    checked: bool
    """Whether a check of the present address has passed since it was set."""
    up: bool


class Worker:
    """What matters of HAProxy. A slot takes new work when it is up, not drained, and has a weight."""

    def __init__(self, state: Observed) -> None:
        self.trusted = {(slot, line.host, line.port) for slot, line in state.pool.items() if not line.maintenance}
        self.load(state)

    def load(self, state: Observed) -> None:
        self.mark, self.slots_map = state.fingerprint, dict(state.slots_map)
        self.slots = {
            number: Slot(
                (line.host, line.port),
                (state.reads[number].host, state.reads[number].port),
                (state.anyhow[number].host, state.anyhow[number].port),
                (state.owner[number].host, state.owner[number].port),
                line.weight,
                state.reads[number].weight,
                state.anyhow[number].weight,
                line.maintenance,
                line.drained,
                (number, line.host, line.port) in self.trusted,
                not line.maintenance,
            )
            for number, line in state.pool.items()
        }

    def take(self, step: Step) -> None:
        match step:
            case Maintain(slot):
                self.slots[slot].maintenance, self.slots[slot].up = True, False
            case Enable(slot):
                one = self.slots[slot]
                one.up = one.up or one.maintenance  # HAProxy calls it up before any check
                one.maintenance = one.drained = False
            case DeclareDown(slot):
                self.slots[slot].up = False
            case SetWeight(slot, weight):
                one = self.slots[slot]
                one.weight = one.weight_for_reads = one.weight_anyhow = weight
            case SetAddress(slot, backend, host, port):
                assert self.slots[slot].maintenance, "an address changes only in maintenance"
                assert backend != "anyhow" or not self.slots[slot].weight_anyhow, "where there is none, without weight"
                setattr(self.slots[slot], backend, (host, port))
                self.slots[slot].checked = False
            case MapSlot(slot):
                assert slot not in self.slots_map, "the map would hold the slot twice"
                self.slots_map[slot] = f"n{slot}"
            case UnmapSlot(slot):
                del self.slots_map[slot]

    def assert_safe(self) -> None:
        for number, slot in self.slots.items():
            takes_work = (
                slot.up and slot.weight + slot.weight_for_reads > 0 and not slot.drained and not slot.maintenance
            )
            assert not takes_work or slot.checked, f"slot {number} gets new work before a check has passed"

    def assert_like(self, edge: Edge) -> None:
        wanted = observed(edge)
        assert self.mark == wanted.fingerprint
        assert self.slots_map == wanted.slots_map
        for number, line in wanted.pool.items():
            slot = self.slots[number]
            assert slot.pool == slot.reads == slot.anyhow == slot.owner == (line.host, line.port)
            assert slot.weight == slot.weight_for_reads == slot.weight_anyhow == line.weight
            assert (slot.maintenance, slot.drained) == (line.maintenance, False)


@given(drifted(), edges())
def test_a_plan_arrives_and_every_prefix_is_safe(before: Observed, new: Edge) -> None:
    worker = Worker(before)
    plan = changes(before, new)
    for number, step in enumerate(plan.steps):
        if isinstance(step, Reload):
            assert number == 0
            worker.load(observed(between(before, new)))
        else:
            worker.take(step)
        worker.assert_safe()
    worker.assert_like(new)


@given(edges())
def test_no_change_no_step(edge: Edge) -> None:
    assert changes(edge, edge).steps == ()


@given(edges(), edges())
def test_addresses_and_weights_need_no_reload(old: Edge, new: Edge) -> None:
    plain = [replace(edge, servers=tuple(replace(s, ca_file=None) for s in edge.servers)) for edge in (old, new)]
    if plain[0].stats_port == plain[1].stats_port:
        assert not changes(*plain).reloads
