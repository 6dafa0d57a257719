"""The socket sink, by real connections."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from controller import virtual_printer
from tests.process.nodes.conftest import Printer, eventually

PDF = b"%PDF-1.4\n" + b"<< /Type /Page /Parent 2 0 R >>\n" * 3 + b"<< /Type /Pages /Count 3 >>\n%%EOF"


def connected(printer: Printer) -> socket.socket:
    def attempt() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", printer.port), timeout=10)
        except OSError:
            return None

    made = eventually(attempt)
    assert made
    return made


def send(printer: Printer, document: bytes) -> None:
    """Like CUPS's socket backend: send, say that it is all, wait until the printer hangs up."""
    with connected(printer) as connection:
        connection.sendall(document)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):
            pass


def test_documents_are_kept_in_order_with_a_fitting_name(printer: Printer) -> None:
    printer.start()
    for document in (PDF, b"%!PS-Adobe\n", b"plain\n", bytes(range(256))):
        send(printer, document)
    assert [path.name.split("-")[1] for path in printer.printed()] == [
        "000001.pdf",
        "000002.ps",
        "000003.txt",
        "000004.prn",
    ]
    assert printer.printed()[0].read_bytes() == PDF


def test_the_sequence_goes_on_after_a_restart(printer: Printer) -> None:
    printer.start()
    send(printer, b"one\n")
    printer.stop()
    printer.start()
    send(printer, b"two\n")
    assert [path.read_text() for path in printer.printed()] == ["one\n", "two\n"]
    assert printer.printed()[1].name.endswith("-000002.txt")


def test_a_broken_connection_is_kept_apart(printer: Printer) -> None:
    printer.start()
    with connected(printer) as connection:
        connection.sendall(b"half a do")
        time.sleep(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    [partial] = eventually(lambda: list(printer.folder.glob("*.partial")))
    assert partial.read_bytes() == b"half a do"
    assert printer.printed() == []


def test_what_was_coming_in_at_a_kill_is_kept_apart(printer: Printer) -> None:
    printer.start()
    with connected(printer) as connection:
        connection.sendall(b"half a do")
        eventually(lambda: [path for path in printer.folder.glob(".incoming-*") if path.stat().st_size])
        printer.stop()
    printer.start()
    send(printer, b"two\n")
    assert [path.suffix for path in sorted(printer.folder.iterdir())] == [".partial", ".txt"]


def test_a_connection_without_a_byte_leaves_nothing(printer: Printer) -> None:
    printer.start()
    send(printer, b"")
    assert list(printer.folder.iterdir()) == []


def test_it_prints_at_its_speed(printer: Printer) -> None:
    printer.start("--pages-per-minute", "300")  # three pages take 0.6 s
    connected(printer).close()  # it listens: what is measured is no start of a program
    begun = time.monotonic()
    send(printer, PDF)
    assert 0.6 <= time.monotonic() - begun < 10


def test_one_at_a_time_the_second_waits(printer: Printer) -> None:
    printer.start("--parallel", "one")
    first = connected(printer)
    first.sendall(b"first\n")
    with connected(printer) as second:
        second.sendall(b"second\n")
        second.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
        assert printer.printed() == []
        first.close()
        assert second.recv(1) == b""
    assert [path.read_text() for path in printer.printed()] == ["first\n", "second\n"]


def test_many_at_a_time_nobody_waits(printer: Printer) -> None:
    printer.start("--parallel", "many")
    with connected(printer) as idle:
        idle.sendall(b"slow")
        send(printer, b"quick\n")
        assert [path.read_text() for path in printer.printed()] == ["quick\n"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_is_told_to_the_sender(printer: Printer) -> None:
    printer.folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", printer.folder], check=True)
    try:
        printer.start()
        with pytest.raises(OSError, match=r"reset|not connected|Broken pipe"):
            send(printer, b"x" * 2_000_000)
        assert printer.printed() == []
        send(printer, b"small\n")
        assert len(printer.printed()) == 1
        assert "could not be kept" in (printer.folder.parent / "printer.log").read_text()
    finally:
        printer.stop()
        subprocess.run(["umount", printer.folder], check=True)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (PDF, 3),
        (b"%PDF-1.5\n/Count 12\n compressed", 12),
        (b"%!PS-Adobe-3.0\n%%Page: 1 1\n%%Page: 2 2\n", 2),
        (b"line\n" * 200, 3),
        (b"a\fb\fc\f", 3),
        (b"\x1bE binary \x00", 1),
    ],
)
def test_pages_are_counted_roughly(tmp_path: Path, document: bytes, expected: int) -> None:
    (tmp_path / "document").write_bytes(document)
    assert virtual_printer.pages(tmp_path / "document") == expected


def test_a_printer_language_of_pjl_names_the_kind(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE = POSTSCRIPT\r\n%!PS")
    assert virtual_printer.kind(tmp_path / "a") == "ps"
