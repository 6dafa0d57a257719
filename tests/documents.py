"""Documents to print, with pages that are known."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pikepdf

A4, A3 = (595, 842), (842, 1191)
GREY, RED = b"0 0 0 rg 10 10 50 50 re f", b"1 0 0 rg 10 10 50 50 re f"


def pdf(path: Path, pages: int, size: tuple[int, int] = A4, content: bytes = GREY) -> Path:
    with pikepdf.new() as document:
        for _ in range(pages):
            page = document.add_blank_page(page_size=size)
            page.Contents = document.make_stream(content)
        document.save(path)
    return path


def rendered(device: str, source: Path, path: Path, *options: str) -> Path:
    """A PDF as another format, by one of Ghostscript's devices."""
    command = ["gs", "-q", "-dNOPAUSE", "-dBATCH", f"-sDEVICE={device}", "-r75", *options, f"-sOutputFile={path}"]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=60)
    return path


def text(path: Path, lines: int) -> Path:
    path.write_text("".join(f"line {number}\n" for number in range(lines)))
    return path
