"""PostScript by its document structuring comments (Adobe, version 3.0). A program prints what it likes, so this is
an estimate, and exact for drivers that keep to the conventions."""

from __future__ import annotations

import os
import re

from controller.costs.count import ESTIMATED, HEAD_BYTES, Count, media, pjl, unknown

_CHUNK = 1 << 18
_LONGEST = 256
"""Bytes of a comment that are looked at (the conventions allow 255)."""
_WORD = re.compile(
    rb"(?:^|[\r\n])%%(?:(?P<page>Page:)|(?P<pages>Pages:\s*(\d+))|(?P<begin>BeginDocument)|(?P<end>EndDocument)"
    rb"|(?P<size>(?:Page)?BoundingBox:\s*0\s+0\s+(\d+)\s+(\d+))|(?P<media>(?:Document|Page)Media:\s*\S+\s+([\d.]+)\s+([\d.]+)))"
    rb"|/NumCopies\s+(?P<copies>\d+)|/#copies\s+(?P<old>\d+)|(?P<duplex>/Duplex\s+(true|false))"
    rb"|(?P<tumble>/Tumble\s+true)|(?<![/\w])(?P<show>showpage)(?!\w)|(?P<grey>/DeviceGray\s*(?:def|>>\s*setpagedevice))"
)


def count(document: int) -> Count:
    """Reads the stream to its end; pages of documents that are embedded do not count."""
    seen = _Seen()
    tail = b""
    head = b""
    while chunk := os.read(document, _CHUNK):
        if len(head) < HEAD_BYTES:
            head += chunk[: HEAD_BYTES - len(head)]
        data = tail + chunk
        cut = len(data) if len(chunk) == 0 else max(0, len(data) - _LONGEST)
        done = 0
        for match in _WORD.finditer(data):
            if match.start() >= cut:
                break
            seen.take(match)
            done = match.end()
        tail = data[max(cut, done) :]
    for match in _WORD.finditer(tail):
        seen.take(match)
    copies, sides, _ = pjl(head)
    pages = seen.pages or seen.declared or seen.shown
    if not pages:
        return unknown("it has neither page comments nor a showpage")
    parts: dict[tuple[str, bool | None], int] = {(seen.medium, None): pages}
    return Count(ESTIMATED, parts, max(copies, seen.copies), seen.sides or sides)


class _Seen:
    """What was met so far, outside of embedded documents."""

    def __init__(self) -> None:
        self.depth = 0
        self.pages = self.declared = self.shown = 0
        self.copies = 1
        self.sides = self.medium = ""

    def take(self, match: re.Match[bytes]) -> None:
        kind = match.lastgroup
        if kind == "begin":
            self.depth += 1
        elif kind == "end":
            self.depth = max(0, self.depth - 1)
        elif not self.depth:
            self._take_own(kind, match)

    def _take_own(self, kind: str | None, match: re.Match[bytes]) -> None:
        if kind == "page":
            self.pages += 1
        elif kind == "pages":
            self.declared = max(self.declared, int(match[0].split()[-1]))
        elif kind == "show":
            self.shown += 1
        elif kind in ("copies", "old"):
            self.copies = max(1, min(int(match[kind]), 9999))
        elif kind in ("size", "media"):
            width, height = (float(word) for word in match[0].split()[-2:])
            self.medium = (kind == "size" and self.medium) or media.named(width, height)
        elif kind == "duplex":
            self.sides = "two-sided-long-edge" if match[0].endswith(b"true") else "one-sided"
        elif kind == "tumble" and self.sides != "one-sided":
            self.sides = "two-sided-short-edge"
