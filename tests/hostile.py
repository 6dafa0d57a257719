"""Documents that were made to do harm: bombs, loops, lies, and lengths that nothing follows. Each is small on disk."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import pikepdf

A4 = (595, 842)
_HEAD = b"%PDF-1.7\n"
_UEL = b"\x1b%-12345X"


def objects(*bodies: bytes) -> bytes:
    """A PDF of these objects, numbered from 1, the first of them the catalogue; without a table of their places."""
    parts = [b"%d 0 obj%sendobj\n" % (number, body) for number, body in enumerate(bodies, 1)]
    return _HEAD + b"".join(parts) + b"trailer<</Root 1 0 R>>\n%%EOF\n"


def stream(data: bytes, more: bytes = b"") -> bytes:
    return b"<</Length %d%s>>stream\n%s\nendstream " % (len(data), more, data)


def packed(megabytes: int, layers: int = 1, of: bytes = b" ") -> bytes:
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(of * (1 << 20)) for _ in range(megabytes)) + packer.flush()
    for _ in range(layers - 1):
        data = zlib.compress(data, 9)
    return data


_CATALOG, _PAGES = b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[3 0 R]>>"


def _page(more: bytes) -> bytes:
    return b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]%s>>" % more


def same_page(times: int) -> bytes:
    """A PDF that is small, and takes nearly ten seconds to count for each million."""
    return objects(_CATALOG, b"<</Type/Pages/Count %d/Kids[%s]>>" % (times, times * b"3 0 R "), _page(b""))


def pdfs() -> Iterator[tuple[str, bytes]]:
    bomb = b"/Filter[" + 3 * b"/FlateDecode" + b"]"
    yield "a bomb of three layers", objects(_CATALOG, _PAGES, _page(b"/Contents 4 0 R"), stream(packed(1024, 3), bomb))
    form = stream(b"/F Do", b"/Type/XObject/Subtype/Form/Resources<</XObject<</F 4 0 R>>>>")
    yield "a form that draws itself", objects(_CATALOG, _PAGES, _page(b"/Resources<</XObject<</F 4 0 R>>>>"), form)
    yield "a tree in a circle", objects(_CATALOG, b"<</Type/Pages/Count 2/Kids[3 0 R 2 0 R]>>", _page(b""))
    chain = [b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % number for number in range(3, 20_000)]
    yield "a tree of 20,000 levels", objects(_CATALOG, *chain, _page(b""))
    yield "nested arrays", objects(_CATALOG, _PAGES, _page(b"/Contents " + 50_000 * b"[" + 50_000 * b"]"))
    yield "one page 200,000 times", same_page(200_000)
    yield "a reference to itself", objects(b"<</Type/Catalog/Pages 2 0 R>>", b"2 0 R")
    yield "a box of itself", objects(_CATALOG, _PAGES, b"<</Type/Page/Parent 2 0 R/MediaBox 3 0 R>>")
    yield (
        "a table that comes after itself",
        _HEAD + b"xref\n0 1\n0000000000 65535 f \ntrailer<</Size 1/Prev 9>>\nstartxref\n9\n%%EOF\n",
    )
    yield (
        "a length of itself",
        objects(_CATALOG, _PAGES, _page(b"/Contents 4 0 R"), b"<</Length 4 0 R>>stream\nx\nendstream "),
    )
    yield (
        "an object in a stream in itself",
        objects(_CATALOG, _PAGES, stream(b"3 0 <<>>", b"/Type/ObjStm/N 1/First 4/Extends 3 0 R")),
    )
    space = b"/Resources<</ColorSpace<</C 4 0 R>>>>/Contents 5 0 R"
    yield "a colour of itself", objects(_CATALOG, _PAGES, _page(space), b"[/Indexed 4 0 R 1 <0000>]", stream(b"/C cs"))
    yield "half a million documents", 500_000 * b"%PDF-1.4\n%%EOF\n"
    yield "encrypted", _encrypted()


def _encrypted() -> bytes:
    file = io.BytesIO()
    with pikepdf.new() as document:
        document.add_blank_page(page_size=A4)
        document.save(file, encryption=pikepdf.Encryption(user="secret", owner="secret"))
    return file.getvalue()


def others() -> Iterator[tuple[str, bytes]]:
    script = b"%!PS-Adobe-3.0\n"
    yield "more pages than a database can hold", script + b"%%Pages: " + 200 * b"9" + b"\n"
    yield "sizes that are none", script + b"%%DocumentMedia: x 1.2.3 ..\n%%PageMedia: y . .\n%%Page: 1 1\nshowpage\n"
    yield "documents in documents", script + 1_000_000 * b"%%BeginDocument: a\n"
    yield "a line without an end", script + 8 * (1 << 20) * b"%"
    yield "loops of PostScript", script + b"{{} loop} loop\n{showpage} loop\n"
    for name, sizes in {
        "raster of no width": (0, 0, 0),
        "raster of four thousand million lines": (1, 2**32 - 1, 1),
        "raster of lines without an end": (2**32 - 1, 2**32 - 1, 2**32 - 1),
    }.items():
        yield name, b"RaS3" + _raster(*sizes) + 4096 * b"\0"
        yield f"packed {name}", b"RaS2" + _raster(*sizes) + 1_000_000 * b"\xff\x80\0"
    yield "a font of 2 GB in PCL", b"\x1bE\x1b)s2147483647W" + b"x" * 100
    yield "numbers of PCL", b"\x1bE\x1b&l" + 300 * b"9" + b"X\x1b*b-99999999999W\x0c"
    yield "an escape of PCL without an end", b"\x1bE\x1b&a" + 1_000_000 * b"1+"
    yield "PJL without an end", _UEL + 1_000_000 * b"@PJL SET QTY=999999999\r\n"
    yield "a printer language inside of itself", 200_000 * _UEL
    yield "form feeds", b"a" + (1 << 20) * b"\f"
    yield "nothing", b""


def _raster(width: int, height: int, line: int) -> bytes:
    """A page's header of CUPS raster: cups_page_header2_t of cups/raster.h, big-endian."""
    header = bytearray(1796)
    struct.pack_into(">II", header, 372, width, height)
    struct.pack_into(">IIII", header, 384, 8, 8, line, 0)
    return bytes(header)


def mutated(document: bytes, choose: Callable[[int], int]) -> bytes:
    """With some of its bytes changed, cut out, or written twice. choose: gives a number below the one given."""
    whole = bytearray(document)
    for _ in range(1 + choose(8)):
        at, length = choose(len(whole) + 1), choose(64)
        match choose(4):
            case 0:
                whole[at : at + 1] = bytes([choose(256)])
            case 1:
                del whole[at : at + length]
            case 2:
                whole[at:at] = whole[at : at + length] * (1 + choose(4))
            case _:
                whole[at : at + length] = bytes(choose(256) for _ in range(length))
    return bytes(whole)
