"""PDF, read by pikepdf: every page with its size, and whether anything on it can be in colour."""

from __future__ import annotations

import importlib
import importlib.util
import mmap
import re
import sys
import time
from io import BytesIO
from itertools import pairwise

from controller.costs.count import COUNTED, ESTIMATED, HEAD_BYTES, UEL, Count, added, media, pjl, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO


def _qpdf() -> Any:
    """pikepdf's own binding of qpdf, which is all that is needed here. Each job waits for this import, and that of the
    whole package takes three times as long; so it is only for a process that does nothing else (counter.py)."""
    if "pikepdf" not in sys.modules:
        spec = importlib.util.find_spec("pikepdf")
        if spec is None:
            raise ModuleNotFoundError("pikepdf is not installed")
        sys.modules["pikepdf"] = importlib.util.module_from_spec(spec)  # its place is known, its code is not run
    return importlib.import_module("pikepdf._core")


qpdf = _qpdf()

COLOUR_SECONDS = 1.0
"""Processor time after which it is no longer looked for colour; the pages that are left count as of unknown colour."""
DEEPEST = 8
"""Levels of form XObjects that are followed."""
_CONTENT_BYTES = 4 << 20
"""Content of a page, uncompressed, beyond which its colour counts as unknown."""
_NEXT = re.compile(rb"%%EOF((?:\s|\x1b%-12345X|@PJL[^\r\n]{0,255}){0,999})(?=%PDF-\d)")
"""Where one document ends and another begins, with the printer job language of drivers between them."""
_NUMBER = rb"(-?[\d.]+)\s+"
_RGB = re.compile(rb"(?<![\w.])" + 3 * _NUMBER + rb"(?:rg|RG)(?!\w)")
_CMYK = re.compile(rb"(?<![\w.])" + 4 * _NUMBER + rb"[kK](?!\w)")
_SPACE = re.compile(rb"/(\S+?)\s+(?:cs|CS)(?!\w)")
_GREY = {"/DeviceGray", "/CalGray", "/G", "/Pattern"}

Parts = dict[tuple[str, bool | None], int]


def count(path: str, cut: bool = False) -> Count:
    """Filters that are given several documents hand them on one behind the other, so each is counted.

    cut: the end is missing, and only pages are counted of which nothing else is. Programs write all pages' descriptions
    before what is on them, and qpdf finds them without the table at the end.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        seams = list(_NEXT.finditer(data))
        if not seams:
            return _asked(_one(file, cut), data[:HEAD_BYTES])
        heads = [data[:HEAD_BYTES]]
        heads += (seam[1] if UEL in seam[1] else heads[-1] for seam in seams)
        bounds = [0, *(seam.end() for seam in seams), len(data)]
        return added(
            [_asked(_one(BytesIO(data[a:b]), cut), head) for (a, b), head in zip(pairwise(bounds), heads, strict=True)]
        )


def _asked(counted: Count, head: bytes) -> Count:
    """With what the printer job language before the document asks for."""
    counted.copies, counted.sides, colour = pjl(head.lstrip())
    if colour is False:
        counted.parts = _without_colour(counted.parts)
    return counted


def _without_colour(parts: Parts) -> Parts:
    grey: Parts = {}
    for (medium, _), pages in parts.items():
        grey[medium, False] = grey.get((medium, False), 0) + pages
    return grey


def _one(source: BinaryIO, cut: bool) -> Count:
    parts: Parts = {}
    known: dict[tuple[int, int], bool] = {}
    until = time.process_time() + COLOUR_SECONDS
    for page in qpdf.Pdf._open(source).pages:
        if cut and not _has_come(page):
            continue
        colour = _colour(page, known) if time.process_time() < until else None
        part = (_medium(page), colour)
        parts[part] = parts.get(part, 0) + 1
    if cut:
        return Count(ESTIMATED, parts) if parts else unknown("it was cut off before a whole page had come")
    return Count(COUNTED, parts)


def _has_come(page: Any) -> bool:
    """Whether what is on a page is in the file: what is not is null to qpdf."""
    contents = page.obj.get("/Contents")
    streams = list(contents) if _is_array(contents) else [contents]
    things = page.obj.get("/Resources", {}).get("/XObject", {})
    return not any(one is None for one in (*streams, *(things.get(name) for name in things.keys())))  # noqa: SIM118


def _medium(page: Any) -> str:
    try:
        left, bottom, right, top = (float(edge) for edge in page.mediabox)
        unit = float(page.obj.get("/UserUnit", 1))
    except (ValueError, TypeError, AttributeError, qpdf.PdfError):
        return ""
    return media.named(abs(right - left) * unit, abs(top - bottom) * unit)


def _colour(page: Any, known: dict[tuple[int, int], bool]) -> bool | None:
    """Whether the page can show colour: False is sure, True is what its operators and images say, None not known."""
    try:
        contents = page.obj.get("/Contents")
        streams = list(contents) if _is_array(contents) else [contents] if contents is not None else []
        resources = page.obj.get("/Resources", {})
        for one in streams:
            if (found := _in_stream(one, resources)) is not False:
                return found
        if page.obj.get("/Annots") is not None and len(page.obj.Annots):
            return None
        return _in_resources(resources, known, 0)
    except (qpdf.PdfError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def _in_stream(stream: Any, resources: Any) -> bool | None:
    if int(stream.get("/Length", 0)) > _CONTENT_BYTES:
        return None
    content = stream.read_bytes()
    if len(content) > _CONTENT_BYTES:
        return None
    if any(not a == b == c for a, b, c in (match.groups() for match in _RGB.finditer(content))):
        return True
    if any(any(float(ink) for ink in match.groups()[:3]) for match in _CMYK.finditer(content)):
        return True
    spaces: Any = resources.get("/ColorSpace", {})
    for name in {match[1].decode("latin-1") for match in _SPACE.finditer(content)}:
        if not _is_grey(spaces.get("/" + name, "/" + name) if name not in ("Pattern",) else "/Pattern"):
            return True
    return False


def _in_resources(resources: Any, known: dict[tuple[int, int], bool], depth: int) -> bool | None:
    if depth > DEEPEST:
        return None
    if len(resources.get("/Shading", {})) or len(resources.get("/Pattern", {})):
        return None
    verdict: bool | None = False
    for thing in dict(resources.get("/XObject", {})).values():
        key = thing.objgen
        if key in known:
            found: bool | None = known[key]
        else:
            found = _in_object(thing, known, depth)
            if found is not None:
                known[key] = found
        if found:
            return True
        verdict = None if found is None else verdict
    return verdict


def _in_object(thing: Any, known: dict[tuple[int, int], bool], depth: int) -> bool | None:
    if thing.get("/Subtype") == "/Form":
        own: Any = thing.get("/Resources", {})
        found = _in_stream(thing, own)
        return found if found is not False else _in_resources(own, known, depth + 1)
    if thing.get("/ImageMask", False):
        return False
    space = thing.get("/ColorSpace")
    return None if space is None else not _is_grey(space)


def _is_array(thing: Any) -> bool:
    return isinstance(thing, qpdf.Object) and thing._type_code == qpdf.ObjectType.array


def _is_grey(space: Any) -> bool:
    if _is_array(space):
        kind = str(space[0])
        if kind == "/ICCBased":
            return int(space[1].get("/N", 3)) == 1
        if kind in ("/Indexed", "/I"):
            return _is_grey(space[1])
        if kind == "/Separation":
            return str(space[1]) in ("/Black", "/All", "/None")
        return kind in _GREY
    return str(space) in _GREY
