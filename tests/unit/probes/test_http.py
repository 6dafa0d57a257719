"""Answers are whole or not yet, however they arrive in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.http import parse

bodies = st.binary(max_size=300)
pieces = st.lists(st.binary(min_size=1, max_size=60), max_size=6)


def counted(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nCONTENT-length: %d\r\n\r\n" % len(body) + body


def chunked(parts: list[bytes]) -> bytes:
    coded = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


@given(bodies)
def test_a_counted_body_is_whole_at_its_last_byte_only(body: bytes) -> None:
    sent = counted(body)
    assert all(parse(sent[:cut]) is None for cut in range(len(sent)))
    assert parse(sent) == (200, body)


@given(pieces)
def test_a_chunked_body_is_whole_at_its_last_byte_only(parts: list[bytes]) -> None:
    sent = chunked(parts)
    for cut in range(len(sent)):
        assert parse(sent[:cut]) is None
    assert parse(sent) == (200, b"".join(parts))


def test_a_body_of_untold_length_ends_with_the_connection() -> None:
    sent = b"HTTP/1.0 404 Not Found\r\n\r\nno"
    assert parse(sent) is None
    assert parse(sent, ended=True) == (404, b"no")


def test_continue_is_passed_over() -> None:
    assert parse(b"HTTP/1.1 100 Continue\r\n\r\n") is None
    assert parse(b"HTTP/1.1 100 Continue\r\n\r\n" + counted(b"x")) == (200, b"x")


@pytest.mark.parametrize("sent", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\r\n\r\n"])
def test_what_is_not_http_is_an_error(sent: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse(sent)
