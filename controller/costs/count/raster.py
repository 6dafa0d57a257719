"""CUPS raster (1 to 3), PWG raster and Apple raster, read by libcups: one header a page, pixels skipped."""

from __future__ import annotations

import ctypes

from controller.costs.count import COUNTED, Count, media, unknown

_LIBRARIES = ("libcups.so.2", "libcupsimage.so.2", "libcups.so.3")
_READ = 0
_GREY = (0, 3, 18, 32)
"""cups_cspace_t: luminance, black, sGrey, and device colour of one ink (cups/raster.h)."""
_CHUNK = 1 << 20


class Header(ctypes.Structure):
    """cups_page_header2_t of cups/raster.h."""

    _fields_ = (
        ("words", ctypes.c_char * 256),
        ("AdvanceDistance", ctypes.c_uint),
        ("AdvanceMedia", ctypes.c_uint),
        ("Collate", ctypes.c_uint),
        ("CutMedia", ctypes.c_uint),
        ("Duplex", ctypes.c_uint),
        ("HWResolution", ctypes.c_uint * 2),
        ("ImagingBoundingBox", ctypes.c_uint * 4),
        ("InsertSheet", ctypes.c_uint),
        ("Jog", ctypes.c_uint),
        ("LeadingEdge", ctypes.c_uint),
        ("Margins", ctypes.c_uint * 2),
        ("ManualFeed", ctypes.c_uint),
        ("MediaPosition", ctypes.c_uint),
        ("MediaWeight", ctypes.c_uint),
        ("MirrorPrint", ctypes.c_uint),
        ("NegativePrint", ctypes.c_uint),
        ("NumCopies", ctypes.c_uint),
        ("Orientation", ctypes.c_uint),
        ("OutputFaceUp", ctypes.c_uint),
        ("PageSize", ctypes.c_uint * 2),
        ("Separations", ctypes.c_uint),
        ("TraySwitch", ctypes.c_uint),
        ("Tumble", ctypes.c_uint),
        ("cupsWidth", ctypes.c_uint),
        ("cupsHeight", ctypes.c_uint),
        ("cupsMediaType", ctypes.c_uint),
        ("cupsBitsPerColor", ctypes.c_uint),
        ("cupsBitsPerPixel", ctypes.c_uint),
        ("cupsBytesPerLine", ctypes.c_uint),
        ("cupsColorOrder", ctypes.c_uint),
        ("cupsColorSpace", ctypes.c_uint),
        ("rest", ctypes.c_char * 1420),
    )


def count(document: int) -> Count:
    """Reads the stream to its end or to what is no page."""
    library = _library()
    if library is None:
        return unknown("libcups is not installed")
    raster = library.cupsRasterOpen(document, _READ)
    if not raster:
        return unknown("its raster header can't be read")
    header = Header()
    parts: dict[tuple[str, bool | None], int] = {}
    sides, copies = "", 1
    buffer = ctypes.create_string_buffer(_CHUNK)
    while library.cupsRasterReadHeader2(raster, ctypes.byref(header)):
        if not _skip(library, raster, header, buffer):
            break
        part = (_medium(header), header.cupsColorSpace not in _GREY)
        parts[part] = parts.get(part, 0) + 1
        copies = max(1, min(header.NumCopies, 9999))
        sides = _sides(header)
    library.cupsRasterClose(raster)
    return Count(COUNTED, parts, copies, sides) if parts else unknown("it holds no whole raster page")


def _library() -> ctypes.CDLL | None:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            opener = library.cupsRasterOpen
        except (OSError, AttributeError):
            continue
        opener.restype = ctypes.c_void_p
        library.cupsRasterReadHeader2.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        library.cupsRasterReadPixels.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)
        library.cupsRasterClose.argtypes = (ctypes.c_void_p,)
        return library
    return None


def _skip(library: ctypes.CDLL, raster: int, header: Header, buffer: ctypes.Array[ctypes.c_char]) -> bool:
    """Read the page's pixels; False when the document ends before they do."""
    planes = 1 if header.cupsColorOrder != 2 else max(1, header.cupsBitsPerPixel // max(1, header.cupsBitsPerColor))
    line = header.cupsBytesPerLine
    lines_at_once = max(1, _CHUNK // max(1, line))
    if not 0 < line <= _CHUNK:
        return False
    left = header.cupsHeight * (planes if header.cupsColorOrder == 2 else 1)
    while left > 0:
        take = min(left, lines_at_once) * line
        if library.cupsRasterReadPixels(raster, buffer, take) != take:
            return False
        left -= min(left, lines_at_once)
    return True


def _medium(header: Header) -> str:
    points = header.PageSize
    if points[0] and points[1]:
        return media.named(points[0], points[1])
    across, down = header.HWResolution
    if across and down:
        return media.named(header.cupsWidth * 72 / across, header.cupsHeight * 72 / down)
    return ""


def _sides(header: Header) -> str:
    if not header.Duplex:
        return "one-sided"
    return "two-sided-short-edge" if header.Tumble else "two-sided-long-edge"
