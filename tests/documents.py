"""Documents to print, with pages that are known."""

from __future__ import annotations

import os
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


def heavy(path: Path, pages: int, size: int) -> Path:
    """A PDF in which each page is an image of noise that weighs so many bytes."""
    with pikepdf.new() as document:
        for _ in range(pages):
            page = document.add_blank_page(page_size=A4)
            picture = document.make_stream(os.urandom(size // 1024 * 1024))
            shape = {"Type": "XObject", "Subtype": "Image", "ColorSpace": "DeviceGray", "BitsPerComponent": 8}
            for key, value in {**shape, "Width": 1024, "Height": size // 1024}.items():
                picture[f"/{key}"] = pikepdf.Name(f"/{value}") if isinstance(value, str) else value
            name = str(page.add_resource(picture, pikepdf.Name.XObject))
            page.Contents = document.make_stream(b"q 500 0 0 700 40 40 cm %s Do Q" % name.encode())
        document.save(path, compress_streams=False)
    return path


def rendered(device: str, source: Path, path: Path, *options: str) -> Path:
    """A PDF as another format, by one of Ghostscript's devices."""
    command = ["gs", "-q", "-dNOPAUSE", "-dBATCH", f"-sDEVICE={device}", "-r75", *options, f"-sOutputFile={path}"]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=60)
    return path


def text(path: Path, lines: int) -> Path:
    path.write_text("".join(f"line {number}\n" for number in range(lines)))
    return path
