"""The decoder against pyipp's, against garbage, and the readings made from it."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyipp.parser import parse as pyipp_parse

from probes import reading, wire
from probes.errors import Unintelligible

names = st.from_regex(r"[a-z]{1,12}-test", fullmatch=True)  # no name to which pyipp gives a meaning of its own
texts = st.text(max_size=30)
values = st.one_of(
    st.tuples(st.just(0x21), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(0x22), st.booleans()),
    st.tuples(st.sampled_from([0x41, 0x42, 0x44, 0x45]), texts),
)
groups = st.lists(st.dictionaries(names, st.lists(values, min_size=1, max_size=3), max_size=5), max_size=4)


def encoded(tag: int, value: int | bool | str) -> bytes:
    if tag == 0x21:
        return struct.pack(">i", value)
    return bytes([value]) if isinstance(value, bool) else str(value).encode()


def answer(jobs: list[dict[str, list[tuple[int, int | bool | str]]]], status: int = 0) -> bytes:
    body = struct.pack(">bbHi", 2, 0, status, 1)
    for job in jobs:
        body += b"\x02"
        for name, attribute_values in job.items():
            for place, (tag, value) in enumerate(attribute_values):
                key, raw = name.encode() if place == 0 else b"", encoded(tag, value)
                body += struct.pack(">BH", tag, len(key)) + key + struct.pack(">H", len(raw)) + raw
    return body + b"\x03"


@given(groups, st.integers(0, 0xFFFF))
def test_what_was_encoded_is_decoded(jobs: list[dict[str, list[tuple[int, int | bool | str]]]], status: int) -> None:
    decoded = wire.decode(answer(jobs, status))
    assert decoded.status == status
    assert decoded.of(wire.JOB_GROUP) == [{name: [v for _, v in many] for name, many in job.items()} for job in jobs]


@given(st.lists(st.dictionaries(names, st.lists(values, min_size=1, max_size=1), min_size=1), min_size=1, max_size=4))
def test_it_agrees_with_pyipp(jobs: list[dict[str, list[tuple[int, int | bool | str]]]]) -> None:
    operation = b"\x01\x47\x00\x12attributes-charset\x00\x05utf-8"  # pyipp insists on this group
    body = answer(jobs)[:8] + operation + answer(jobs)[8:]
    theirs = pyipp_parse(body)["jobs"]
    ours = [{name: many[0] for name, many in job.items()} for job in wire.decode(body).of(wire.JOB_GROUP)]
    assert ours == theirs


@given(st.binary(max_size=200))
def test_garbage_is_unintelligible_or_decoded(body: bytes) -> None:
    with suppress(Unintelligible):
        wire.decode(body)


@given(groups, st.data())
def test_every_cut_answer_is_noticed(
    jobs: list[dict[str, list[tuple[int, int | bool | str]]]], data: st.DataObject
) -> None:
    body = answer(jobs)
    cut = data.draw(st.integers(0, len(body) - 1))
    try:
        decoded = wire.decode(body[:cut])
    except Unintelligible:
        return
    # 0x03 may occur within a cut value's place; what was decoded then is a beginning of the whole
    assert len(decoded.groups) <= len(jobs)


def test_collections_are_skipped_and_languages_stripped() -> None:
    def attribute(tag: int, name: bytes, raw: bytes) -> bytes:
        return struct.pack(">BH", tag, len(name)) + name + struct.pack(">H", len(raw)) + raw

    body = struct.pack(">bbHi", 2, 0, 0, 1) + b"\x04"
    body += attribute(0x34, b"media-col", b"") + attribute(0x4A, b"", b"x") + attribute(0x21, b"", b"\0\0\0\1")
    body += attribute(0x37, b"", b"") + attribute(0x36, b"printer-name", b"\0\2en\0\4Caf\xc3")
    body += attribute(0x13, b"printer-location", b"") + b"\x03rest"
    decoded = wire.decode(body)
    [printer] = decoded.of(wire.PRINTER_GROUP)
    assert "media-col" not in printer
    assert wire.text(printer, "printer-name") == "Caf\ufffd"
    assert wire.text(printer, "printer-location") == ""
    assert decoded.data == b"rest"


def test_a_reading_of_missing_attributes_is_empty_not_an_error() -> None:
    seen = reading.succeeded("n1", 10.0, 0.1, [{}], [{}, {"job-id": [5], "job-state-reasons": ["none"]}])
    assert seen.highest_job_id == 5
    assert seen.jobs[1].state_reasons == ()
    assert seen.queues[0].name == ""
    assert seen.age(12.5) == 2.5


@pytest.mark.parametrize("uri", ["ipp://h:631/printers/office", "office"])
def test_queue_names(uri: str) -> None:
    assert reading.queue_of(uri) == "office"
