"""PCL 5 by its form feeds: no kept library counts PCL, and to find its end of a page only the lengths of binary data
must be known. PCL XL is not read."""

from __future__ import annotations

import os
import re

from controller.costs.count import ESTIMATED, HEAD_BYTES, Count, after_pjl, media, pjl, unknown

_LIMIT = 1 << 28
"""Bytes that are looked at; a larger document counts as unknown."""
_ESCAPE = re.compile(rb"\x1b(?:([!-/])([`-~])?([^\x1b\f]*?[@-^])|[0-~])", re.DOTALL)
_NUMBER = re.compile(rb"([+-]?\d*)(?:\.\d*)?([`-~@-^])")
_WITH_DATA = {b"*bW", b"*bV", b"(sW", b")sW", b"*cW", b"*vW", b"*gW", b"*iW", b"*oW", b"&pX", b"*rW", b"*mW", b"&bW"}
_SIZES = {2: "na_letter_8.5x11in", 3: "na_legal_8.5x14in", 6: "na_ledger_11x17in", 26: "iso_a4_210x297mm"}
_SIZES |= {25: "iso_a5_148x210mm", 27: "iso_a3_297x420mm", 1: "na_executive_7.25x10.5in", 24: "iso_a6_105x148mm"}
assert set(_SIZES.values()) <= set(media.SHORT_NAMES.values())


def count(document: int) -> Count:
    data = bytearray()
    while chunk := os.read(document, 1 << 20):
        data += chunk
        if len(data) > _LIMIT:
            return unknown(f"PCL of more than {_LIMIT >> 20} MB is not counted")
    text = bytes(data)
    head = text[:HEAD_BYTES]
    copies, sides, _ = pjl(head)
    seen = _Page(copies, sides)
    at = len(head) - len(after_pjl(head))
    while at < len(text):
        byte = text[at]
        if byte == 0x1B:
            at = _sequence(text, at, seen)
            continue
        if byte == 0x0C:
            seen.turn(even_if_empty=True)
        elif byte > 0x20:
            seen.marked = True
        at += 1
    seen.turn()
    if not seen.pages:
        return unknown("it has no form feed and nothing to print")
    return Count(ESTIMATED, {(seen.medium, None): seen.pages}, seen.copies, seen.sides)


class _Page:
    def __init__(self, copies: int, sides: str) -> None:
        self.copies, self.sides, self.medium = copies, sides, ""
        self.pages, self.marked = 0, False

    def turn(self, even_if_empty: bool = False) -> None:
        self.pages += self.marked or even_if_empty
        self.marked = False


def _sequence(text: bytes, at: int, seen: _Page) -> int:
    """Where the escape sequence at `at` ends, with its data."""
    if text.startswith(b"\x1b%-12345X", at):
        end = text.find(b"\x1bE", at, at + HEAD_BYTES) if text.startswith(b"@PJL", at + 9) else -1
        return at + 9 if end < 0 else end
    match = _ESCAPE.match(text, at)
    if not match:
        return at + 1
    if match[1] is None:
        return match.end()
    group = match[1] + (match[2] or b"")
    end = match.end()
    for number, letter in _NUMBER.findall(match[3]):
        value, word = int(number or 0) if number not in (b"+", b"-") else 0, group + letter.upper()
        if word in _WITH_DATA:
            end += max(0, value)
            seen.marked = seen.marked or (word in (b"*bW", b"*bV", b"&pX") and value > 0)
        elif word == b"&aG":  # go to the next side, the front or the back
            seen.turn()
        elif word == b"&lX":
            seen.copies = max(1, min(value, 9999))
        elif word == b"&lS":
            seen.sides = ("one-sided", "two-sided-long-edge", "two-sided-short-edge")[value if 0 <= value <= 2 else 0]
        elif word == b"&lA":
            seen.medium = _SIZES.get(value, "")
    return end
