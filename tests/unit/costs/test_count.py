"""Counting documents whose pages are known, and documents that were made to do harm."""

from __future__ import annotations

import os
import time
import zlib
from contextlib import suppress
from pathlib import Path

import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.costs import count
from controller.costs.backend import parsed
from controller.costs.count import Count
from controller.costs.counter import Account, Counter
from tests.documents import A3, A4, GREY, RED, pdf, rendered

UEL = b"\x1b%-12345X"
A4_NAME, A3_NAME = "iso_a4_210x297mm", "iso_a3_297x420mm"


def counted(path: Path) -> Count:
    """As the backend counts a file that it is given."""
    return Counter(Account(), [count.sniff(path.read_bytes()[: count.HEAD_BYTES])], [str(path)]).result()


def streamed(data: bytes) -> Count:
    """As the backend counts what comes from a filter."""
    counter = Counter(Account(), [count.sniff(data)])
    view = memoryview(data)
    with suppress(BrokenPipeError):  # it reads no further than it needs
        while view:
            view = view[os.write(counter.feed, view[:65_536]) :]
    counter.complete()
    return counter.result()


class TestPdf:
    @pytest.mark.parametrize("pages", [1, 10, 300])
    def test_every_page_counts(self, tmp_path: Path, pages: int) -> None:
        document = pdf(tmp_path / "a.pdf", pages)
        assert counted(document).plain() == ["counted", [[A4_NAME, False, pages]], 1, "", ""]
        assert streamed(document.read_bytes()).pages == pages

    def test_so_does_each_of_ten_thousand_though_not_every_colour_is_looked_at(self, tmp_path: Path) -> None:
        document = pdf(tmp_path / "a.pdf", 10_000)
        found = counted(document)
        assert (found.origin, found.pages) == ("counted", 10_000)
        assert found.parts.keys() <= {(A4_NAME, False), (A4_NAME, None)}  # there is a second of processor time for them
        assert streamed(document.read_bytes()).pages == 10_000

    def test_size_and_colour_are_those_of_each_page(self, tmp_path: Path) -> None:
        with pikepdf.open(pdf(tmp_path / "a.pdf", 2, A3, RED)) as big, pikepdf.open(pdf(tmp_path / "b.pdf", 3)) as grey:
            big.pages.extend(grey.pages)
            big.save(tmp_path / "c.pdf")
        assert counted(tmp_path / "c.pdf").parts == {(A3_NAME, True): 2, (A4_NAME, False): 3}

    def test_landscape_is_the_same_medium(self, tmp_path: Path) -> None:
        assert counted(pdf(tmp_path / "a.pdf", 1, (842, 595))).parts == {(A4_NAME, False): 1}

    @pytest.mark.parametrize(
        ("content", "colour"),
        [(GREY, False), (RED, True), (b"0 0 0 1 k 0 0 9 9 re f", False), (b"0 1 0 0 K 0 0 9 9 re S", True)],
    )
    def test_colour_is_told_by_the_operators(self, tmp_path: Path, content: bytes, colour: bool) -> None:
        assert counted(pdf(tmp_path / "a.pdf", 1, A4, content)).parts == {(A4_NAME, colour): 1}

    def test_documents_one_behind_the_other_all_count(self, tmp_path: Path) -> None:
        one, two = pdf(tmp_path / "a.pdf", 3), pdf(tmp_path / "b.pdf", 4)
        assert streamed(one.read_bytes() + two.read_bytes()).pages == 7

    def test_a_printer_language_header_asks_for_copies_and_sides(self, tmp_path: Path) -> None:
        header = UEL + b"@PJL SET QTY=3\r\n@PJL SET DUPLEX=ON\r\n@PJL ENTER LANGUAGE=PDF\r\n"
        found = streamed(header + pdf(tmp_path / "a.pdf", 2, A4, RED).read_bytes())
        assert (found.pages, found.copies, found.sides) == (2, 3, "two-sided-long-edge")

    def test_each_of_several_documents_asks_for_its_own_copies(self, tmp_path: Path) -> None:
        one, again = pdf(tmp_path / "a.pdf", 2).read_bytes(), UEL + b"@PJL SET COPIES=50\r\n@PJL ENTER LANGUAGE=PDF\r\n"
        assert streamed(one + again + one + UEL + b"@PJL ENTER LANGUAGE=PDF\r\n" + one).pages == 2 + 100 + 2
        assert streamed(again + one + one).pages == 200


class TestHostilePdf:
    """Bounded time and memory, then `unknown`: the test's own deadline is the bound that is promised."""

    def harmless(self, path: Path) -> Count:
        begun = time.monotonic()
        found = counted(path)
        assert time.monotonic() - begun < 25
        return found

    def test_garbage(self, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n" + os.urandom(100_000))
        found = self.harmless(tmp_path / "a.pdf")
        assert found.origin == "unknown"
        assert found.why

    def test_encrypted(self, tmp_path: Path) -> None:
        with pikepdf.open(pdf(tmp_path / "a.pdf", 3)) as document:
            document.save(tmp_path / "b.pdf", encryption=pikepdf.Encryption(user="secret", owner="secret"))
        assert self.harmless(tmp_path / "b.pdf").origin == "unknown"

    def test_a_tree_of_pages_that_leads_in_circles(self, tmp_path: Path) -> None:
        pages = b"<</Type/Pages/Count 1/Kids[2 0 R]>>"
        (tmp_path / "a.pdf").write_bytes(
            b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj" + pages + b"endobj\n"
            b"trailer<</Root 1 0 R>>\n%%EOF\n"
        )
        assert self.harmless(tmp_path / "a.pdf").origin == "unknown"

    def test_a_page_that_unpacks_to_gigabytes(self, tmp_path: Path) -> None:
        packer = zlib.compressobj(9)
        chunk = b" " * (1 << 20)
        content = b"".join(packer.compress(chunk) for _ in range(2048)) + packer.flush()
        with pikepdf.new() as document:
            page = document.add_blank_page(page_size=A4)
            page.Contents = pikepdf.Stream(document, content, Filter=pikepdf.Name.FlateDecode)
            document.save(tmp_path / "a.pdf")
        found = self.harmless(tmp_path / "a.pdf")
        assert found.origin == "unknown" or found.parts == {(A4_NAME, None): 1}

    def test_a_count_that_lies(self, tmp_path: Path) -> None:
        document = pdf(tmp_path / "a.pdf", 3)
        document.write_bytes(document.read_bytes().replace(b"/Count 3", b"/Count 9"))
        assert self.harmless(document).pages == 3

    @given(st.data())
    def test_any_change_ends_in_a_count_or_in_unknown(self, data: st.DataObject) -> None:
        whole = bytearray(_SMALL)
        for _ in range(data.draw(st.integers(1, 8))):
            whole[data.draw(st.integers(9, len(whole) - 1))] = data.draw(st.integers(0, 255))
        assert streamed(bytes(whole)).origin in ("counted", "unknown")


_SMALL = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 1/Kids[3 0 R]>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


class TestOthers:
    @pytest.mark.parametrize(
        ("device", "origin", "parts"),
        [
            ("pwgraster", "counted", {(A4_NAME, False): 7}),
            ("cups", "counted", {(A4_NAME, False): 7}),
            ("ps2write", "estimated", {(A4_NAME, None): 7}),
            ("ljet4", "estimated", {(A4_NAME, None): 7}),
            ("pxlcolor", "unknown", {}),
        ],
    )
    def test_what_ghostscript_makes(
        self, tmp_path: Path, device: str, origin: str, parts: dict[tuple[str, bool | None], int]
    ) -> None:
        document = rendered(device, pdf(tmp_path / "a.pdf", 7), tmp_path / "b")
        for found in (counted(document), streamed(document.read_bytes())):
            assert (found.origin, found.parts) == (origin, parts)

    def test_half_a_raster_page_does_not_count(self, tmp_path: Path) -> None:
        document = rendered("cups", pdf(tmp_path / "a.pdf", 3), tmp_path / "b")
        assert streamed(document.read_bytes()[:-1000]).pages == 2

    def test_pages_of_what_is_embedded_in_postscript_do_not_count(self) -> None:
        page = b"%%Page: 1 1\nshowpage\n"
        embedded = b"%%BeginDocument: a.eps\n" + page + b"%%EndDocument\n"
        text = b"%!PS-Adobe-3.0\n%%Pages: (atend)\n" + page + embedded + page + b"%%Trailer\n%%Pages: 2\n%%EOF\n"
        assert streamed(text).pages == 2

    def test_postscript_that_names_pdf_is_no_pdf(self) -> None:
        found = streamed(b"%!PS-Adobe-3.0\n% not %PDF-1.4\n" + b"%%Page: 1 1\nshowpage\n" * 3)
        assert (found.origin, found.pages) == ("estimated", 3)

    def test_postscript_that_asks_for_copies(self) -> None:
        text = b"%!PS-Adobe-3.0\n<</NumCopies 4>>setpagedevice\n<</Duplex true/Tumble false>>setpagedevice\n"
        found = streamed(text + b"%%Page: 1 1\nshowpage\n")
        assert (found.pages, found.copies, found.sides) == (1, 4, "two-sided-long-edge")

    @pytest.mark.parametrize("cut", range(60, 220, 7))
    def test_a_comment_counts_once_wherever_the_stream_is_cut(self, cut: int) -> None:
        from controller.costs.count import postscript

        text = b"%!PS-Adobe-3.0\n" + b"%%Page: 1 1\nshowpage\n" * 12
        read, write = os.pipe()
        chunk = postscript._CHUNK
        postscript._CHUNK = cut
        try:
            os.write(write, text)
            os.close(write)
            assert postscript.count(read).pages == 12
        finally:
            postscript._CHUNK = chunk
            os.close(read)

    @pytest.mark.parametrize(("text", "pages"), [(b"a\n", 1), (b"a\n" * 66, 1), (b"a\n" * 67, 2), (b"a\fb\f", 2)])
    def test_text_is_estimated_by_its_lines(self, text: bytes, pages: int) -> None:
        assert streamed(text).plain() == ["estimated", [["", None, pages]], 1, "", ""]

    @given(st.binary(max_size=2000))
    def test_any_bytes_end_in_an_answer(self, data: bytes) -> None:
        assert streamed(data).origin in ("counted", "estimated", "unknown")

    def test_a_count_that_hangs_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("controller.costs.counter.COUNT_SECONDS", 0.2)
        counter = Counter(Account(), [count.TEXT])
        held = os.dup(counter.feed)
        begun = time.monotonic()
        assert counter.result().origin == "unknown"
        assert time.monotonic() - begun < 10
        os.close(held)


def test_options_are_read_as_cups_writes_them() -> None:
    text = r"job-uuid=urn:uuid:1 job-billing=a\ b\'c media='iso_a4 x' sides=two-sided-long-edge collate"
    assert parsed(text) == {
        "job-uuid": "urn:uuid:1",
        "job-billing": "a b'c",
        "media": "iso_a4 x",
        "sides": "two-sided-long-edge",
        "collate": "",
    }
