"""pyipp's parser against answers of every shape and against garbage, and the readings made from them."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import reading
from probes.attributes import number, text, texts
from probes.errors import Unintelligible
from probes.ipp import Answer, decode

Jobs: TypeAlias = list[dict[str, list[tuple[int, int | bool | str]]]]

names = st.from_regex(r"[a-z]{1,12}-test", fullmatch=True)  # no name to which pyipp gives a meaning of its own
values = st.one_of(
    st.tuples(st.just(0x21), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(0x22), st.booleans()),
    st.tuples(st.sampled_from([0x41, 0x42, 0x44, 0x45]), st.text(max_size=30)),
)
one_job = st.dictionaries(names, st.lists(values, min_size=1, max_size=3), min_size=1, max_size=5)
some_jobs = st.lists(one_job, max_size=4)


def attribute(tag: int, name: bytes, raw: bytes) -> bytes:
    return struct.pack(">BH", tag, len(name)) + name + struct.pack(">H", len(raw)) + raw


def encoded(tag: int, value: int | bool | str) -> bytes:
    if tag == 0x21:
        return struct.pack(">i", value)
    return bytes([value]) if isinstance(value, bool) else str(value).encode()


def answer(jobs: Jobs, status: int = 0) -> bytes:
    body = struct.pack(">bbHi", 2, 0, status, 1) + b"\x01" + attribute(0x47, b"attributes-charset", b"utf-8")
    for job in jobs:
        body += b"\x02"
        for name, many in job.items():
            for place, (tag, value) in enumerate(many):
                body += attribute(tag, name.encode() if place == 0 else b"", encoded(tag, value))
    return body + b"\x03"


def decoded(body: bytes) -> Answer:
    return decode(body, "n1:631")


def plain(many: list[tuple[int, int | bool | str]]) -> Any:
    values = [value for _, value in many]
    return values if len(values) > 1 else values[0]


@given(some_jobs)
def test_what_was_encoded_is_decoded(jobs: Jobs) -> None:
    assert decoded(answer(jobs))["jobs"] == [{name: plain(many) for name, many in job.items()} for job in jobs]


@given(st.binary(max_size=200))
def test_garbage_is_unintelligible_or_decoded(body: bytes) -> None:
    with suppress(Unintelligible):
        assert {"version", "status-code"} <= decoded(body).keys()


@given(st.binary(max_size=60), st.integers(0x8000, 0xFFFF))
def test_a_negative_length_leads_nowhere_but_out(rest: bytes, length: int) -> None:
    with pytest.raises(Unintelligible):
        decoded(struct.pack(">bbHi", 2, 0, 0, 1) + b"\x01" + struct.pack(">BH", 0x44, length) + rest)


@given(some_jobs, st.data())
def test_every_cut_answer_is_noticed(jobs: Jobs, data: st.DataObject) -> None:
    body = answer(jobs)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(Unintelligible, match="n1:631 does not answer in IPP"):
        decoded(body[:cut])


def test_collections_and_languages_and_what_follows() -> None:
    printer = (
        b"\x04" + attribute(0x34, b"media-col", b"") + attribute(0x4A, b"", b"x") + attribute(0x21, b"", b"\0" * 4)
    )
    printer += attribute(0x37, b"", b"") + attribute(0x36, b"printer-name", b"\0\2en\0\5Caf\xc3\xa9")
    printer += attribute(0x13, b"printer-location", b"") + b"\x03rest"
    answered = decoded(answer([])[:-1] + printer)
    [seen] = answered["printers"]
    assert text(seen, "printer-name") == "Café"
    assert text(seen, "printer-location") == ""
    assert answered["data"] == b"rest"


def test_one_value_several_and_none_read_alike() -> None:
    seen = {"one": "a", "several": ["a", "b"], "none": "none", "state": [3, 4], "empty": ""}
    assert [texts(seen, name) for name in ("one", "several", "none", "empty", "away")] == [
        ("a",),
        ("a", "b"),
        (),
        (),
        (),
    ]
    assert [number(seen, name) for name in ("state", "one", "away")] == [3, 0, 0]
    assert [text(seen, name) for name in ("several", "state", "away")] == ["a", "", ""]


def test_a_reading_of_missing_attributes_is_empty_not_an_error() -> None:
    seen = reading.succeeded("n1", 10.0, 0.1, [{}], [{}, {"job-id": 5, "job-state-reasons": "none"}])
    assert seen.highest_job_id == 5
    assert seen.jobs[1].state_reasons == ()
    assert seen.queues[0].name == ""
    assert seen.age(12.5) == 2.5


@pytest.mark.parametrize("uri", ["ipp://h:631/printers/office", "office"])
def test_queue_names(uri: str) -> None:
    assert reading.queue_of(uri) == "office"
