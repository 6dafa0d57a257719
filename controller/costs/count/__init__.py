"""How many pages a document has: `sniff` tells what it is, `reader` what counts it.

Runs on the node inside the CUPS backend, so it imports little: a Python that has imported `dataclasses` has spent as
much time as the backend may take. Formats: pdf.py (pikepdf), raster.py (libcups), postscript.py, pcl.py, text.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Reader: TypeAlias = Callable[[int, str, bool], "Count"]

COUNTED, ESTIMATED, UNKNOWN, PRINTER = "counted", "estimated", "unknown", "printer"
"""Where a page count comes from; `printer` is the printer's own word."""

PDF, RASTER, POSTSCRIPT, PCL, TEXT, IMAGE, OTHER = "pdf", "raster", "postscript", "pcl", "text", "image", "other"
MOST_PAGES = 1_000_000
"""More than these no printer prints of one document: a count beyond is a lie, and a ledger could not add it."""
HEAD_BYTES = 65_536
"""How much of a document `sniff` looks at, at most."""

_RASTER = (b"RaSt", b"tSaR", b"RaS2", b"2SaR", b"RaS3", b"3SaR", b"UNIRAST\0")
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
UEL = b"\x1b%-12345X"
"""Universal exit: what comes next is Printer Job Language, and settings of before are forgotten."""


class Count:
    """What was counted. pages: impressions of one copy by medium and colour.

    parts: {(medium, colour): pages}; medium is a PWG 5101.1 name or '' where it is not known, colour True, False or
    None where it is not known. copies: that the document itself asks for (PJL, setpagedevice, raster header).
    sides: keyword of RFC 8011, 5.2.8, or '' where the document does not say. why: of `unknown`, in words.
    """

    __slots__ = ("copies", "origin", "parts", "sides", "why")

    def __init__(
        self,
        origin: str,
        parts: dict[tuple[str, bool | None], int] | None = None,
        copies: int = 1,
        sides: str = "",
        why: str = "",
    ) -> None:
        self.origin = origin
        self.parts = parts or {}
        self.copies = copies
        self.sides = sides
        self.why = why

    @property
    def pages(self) -> int:
        return sum(self.parts.values())

    def plain(self) -> list[Any]:
        """As JSON can hold it; `from_plain` takes it back."""
        parts = [[medium, colour, pages] for (medium, colour), pages in self.parts.items()]
        return [self.origin, parts, self.copies, self.sides, self.why]


def from_plain(value: list[Any]) -> Count:
    """Raises ValueError or TypeError for anything else than `Count.plain` gives."""
    origin, parts, copies, sides, why = value
    pages = {(str(medium), colour): int(pages) for medium, colour, pages in parts}
    return believed(Count(str(origin), pages, int(copies), str(sides), str(why)))


def believed(counted: Count, copies: int = 1) -> Count:
    """Itself, or `unknown` where it claims what can't be. copies: that the job asks for, beside the document."""
    if counted.pages * counted.copies * copies > MOST_PAGES:
        return unknown(f"it claims more than {MOST_PAGES} pages")
    return counted


def unknown(why: str) -> Count:
    return Count(UNKNOWN, why=why)


def one_page(pages: int, origin: str) -> Count:
    """So many pages of which nothing else is known."""
    return Count(origin, {("", None): pages} if pages else {})


def added(counts: list[Count]) -> Count:
    """The documents of one job as one: unknown when one of them is, else of the least certain origin."""
    if len(counts) == 1:
        return counts[0]
    for worst in (UNKNOWN, ESTIMATED, COUNTED):
        found = [one for one in counts if one.origin == worst]
        if found:
            break
    if worst == UNKNOWN or not counts:
        return unknown(found[0].why if counts else "there is no document")
    parts: dict[tuple[str, bool | None], int] = {}
    for one in counts:
        for part, pages in one.parts.items():
            parts[part] = parts.get(part, 0) + pages * one.copies
    return Count(worst, parts, sides=next((one.sides for one in counts if one.sides), ""))


def sniff(head: bytes) -> str:
    """What kind of document begins with these bytes (up to HEAD_BYTES of it)."""
    body = after_pjl(head)
    if body.startswith(_RASTER):
        return RASTER
    if body.lstrip(b"\x04\r\n ").startswith(b"%!"):
        return POSTSCRIPT  # before it is looked for PDF, which a comment of it may name
    if body.lstrip(b"\0\t\n\r\x0c ").startswith(b"%PDF-") or b"%PDF-" in body[:1024]:
        return PDF
    if body.startswith(_IMAGES):
        return IMAGE
    if body.startswith(b"\x1b") and not body.startswith(UEL):
        return PCL
    if body and all(byte >= 32 or byte in b"\t\n\r\f\b" for byte in body[:4096]):
        return TEXT
    return OTHER


def after_pjl(head: bytes) -> bytes:
    """What follows the commands of a Printer Job Language header, if there is one."""
    rest = head
    while rest.startswith(UEL):
        rest = rest[len(UEL) :].lstrip(b"\r\n")
    while rest.startswith(b"@PJL"):
        line, _, rest = rest.partition(b"\n")
        words = line.upper().split()
        if words[1:2] == [b"ENTER"] or words[1:2] == [b"ENTER\r"]:
            return rest
        while rest.startswith(UEL):
            rest = rest[len(UEL) :].lstrip(b"\r\n")
    return rest


def pjl(head: bytes) -> tuple[int, str, bool | None]:
    """Copies, sides and colour (None: not said) that a Printer Job Language header asks for."""
    copies, sides, colour, edge = 1, "", None, "two-sided-long-edge"
    if head.startswith(UEL):
        for line in head[: len(head) - len(after_pjl(head))].splitlines():
            name, _, value = line.upper().replace(b" ", b"").partition(b"=")
            value = value.strip()
            if name.endswith((b"@PJLSETCOPIES", b"@PJLSETQTY")) and value.isdigit():
                copies = max(copies, min(int(value), 9999))
            elif name.endswith(b"@PJLSETDUPLEX"):
                sides = edge if value == b"ON" else "one-sided"
            elif name.endswith(b"@PJLSETBINDING") and value == b"SHORTEDGE":
                edge = "two-sided-short-edge"
                sides = sides and (edge if sides != "one-sided" else sides)
            elif name.endswith(b"@PJLSETRENDERMODE"):
                colour = value == b"COLOR"
    return copies, sides, colour


def reader(kind: str) -> Reader:
    """What counts documents of a kind: called with a descriptor open for reading, a path where a file can be opened
    anew ('' for a stream), and whether it is a file whose end is missing. It raises whatever the libraries do, and has
    no limits of its own (counter.py)."""
    if kind == PDF:
        from controller.costs.count import pdf

        return lambda document, path, cut: pdf.count(path, cut)
    if kind == RASTER:
        from controller.costs.count import raster

        return lambda document, path, cut: raster.count(document)
    if kind == POSTSCRIPT:
        from controller.costs.count import postscript

        return lambda document, path, cut: postscript.count(document)
    if kind == PCL:
        from controller.costs.count import pcl

        return lambda document, path, cut: pcl.count(document)
    if kind == TEXT:
        from controller.costs.count import text

        return lambda document, path, cut: text.count(document)
    if kind == IMAGE:
        return lambda document, path, cut: one_page(1, COUNTED)
    return lambda document, path, cut: unknown("its format is not known")
