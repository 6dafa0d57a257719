"""Plain text, as a printer without a driver prints it: a form feed or so many lines make a page."""

from __future__ import annotations

import os

from controller.costs.count import ESTIMATED, Count, one_page, unknown

LINES = 66
"""Lines of a page: 11 inches at 6 lines an inch. Longer lines are not wrapped here, for it is the printer's to do."""
_CHUNK = 1 << 18


def count(document: int) -> Count:
    pages = lines = 0
    begun = False
    while chunk := os.read(document, _CHUNK):
        for number, sheet in enumerate(chunk.split(b"\f")):
            if number:
                pages += 1 + max(0, lines - 1) // LINES if begun or lines else 1
                lines, begun = 0, False
            lines += sheet.count(b"\n")
            begun = begun or bool(sheet.strip(b"\r\n"))
            if lines and not begun:
                begun = bool(sheet)
    if begun or lines:
        pages += 1 + max(0, lines - 1) // LINES
    return one_page(pages, ESTIMATED) if pages else unknown("it is empty")
