"""Attribute groups as bytes: whatever is taken apart is the same when it is put together again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import wire
from probes.wire import Malformed
from tests.process.edge import fuzz
from tests.process.edge.ippwire import attribute
from tests.unit.haproxy.ipp_reference import verdict

names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=12)
values = st.tuples(st.sampled_from([wire.TEXT, wire.NAME, wire.KEYWORD, wire.URI, 0x30]), st.binary(max_size=40))
attributes = st.tuples(names, st.lists(values, min_size=1, max_size=3))
groups = st.tuples(st.sampled_from([1, 2, 4, 5, 6, 7]), st.lists(attributes, max_size=5))


def encoded(group: tuple[int, list[tuple[str, list[tuple[int, bytes]]]]]) -> bytes:
    tag, content = group
    parts = [bytes([tag])]
    for name, many in content:
        parts += [attribute(kind, name if place == 0 else "", value) for place, (kind, value) in enumerate(many)]
    return b"".join(parts)


@given(st.lists(groups, max_size=6), st.binary(max_size=20))
def test_a_message_is_the_sum_of_its_groups(content, data) -> None:
    raw = [encoded(group) for group in content]
    body = wire.message(b"\2\1", 0x000A, 77, raw, data)
    found = wire.split(body)
    assert (found.version, found.code, found.request_id, found.data) == (b"\2\1", 0x000A, 77, data)
    assert [group.raw for group in found.groups] == raw
    for group, (_, expected) in zip(found.groups, content, strict=True):
        told = wire.attributes(group.raw)
        assert [(one.name.decode(), one.values) for one in told] == expected
        assert b"".join(one.raw for one in told) == group.raw[1:]


@given(st.lists(groups, min_size=1, max_size=4), st.sets(names, max_size=4))
def test_what_is_cut_out_is_gone_and_the_rest_stays(content, unwanted) -> None:
    wanted = frozenset(name.encode() for name in unwanted)
    for group in wire.split(wire.message(b"\2\0", 0, 1, map(encoded, content)), wanted).groups:
        before = wire.attributes(group.raw)
        firsts = {name: next(one for one in before if one.name == name) for name in group.spots}
        assert set(group.spots) == {one.name for one in before} & wanted
        kept = [one for one in before if one not in firsts.values()]
        assert [one for one in wire.attributes(group.without(wanted)) if one.name not in firsts] == [
            one for one in kept if one.name not in firsts
        ]


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_an_independent_reading_on_sound_requests(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(2000):
        body = fuzz.mutated(rng)
        kind, expected = verdict(body)
        if kind != "ok":
            continue
        found = [(group.tag, one) for group in wire.split(body).groups for one in wire.attributes(group.raw)]
        assert [(tag, one.name) for tag, one in found] == [(one.group, one.name) for one in expected]


@given(st.binary(max_size=200))
def test_nothing_but_malformed_comes_of_garbage(garbage: bytes) -> None:
    try:
        found = wire.split(b"\2\0\0\0\0\0\0\1" + garbage, frozenset({b"job-id"}))
    except Malformed:
        return
    for group in found.groups:
        assert group.raw in garbage
        wire.attributes(group.raw)


def test_numbers_are_signed_and_out_of_band_values_are_none() -> None:
    body = wire.message(
        b"\2\0",
        0,
        1,
        [
            bytes([wire.JOB])
            + wire.attribute(wire.INTEGER, "a", -5)
            + wire.attribute(wire.NO_VALUE, "b", b"")
            + wire.attribute(wire.BOOLEAN, "c", 1)
        ],
    )
    (group,) = wire.split(body, {b"a", b"b"}).groups
    assert (group.number(b"a"), group.number(b"b"), group.number(b"x")) == (-5, 0, 0)
    assert wire.attributes(group.raw)[2].values == [(wire.BOOLEAN, b"\1")]
