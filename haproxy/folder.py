"""The files of a proxy: written whole or not at all, private, one writer at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from haproxy.errors import FolderUnusable
from machine.files import sync, write_through

LOCK = "lock"


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Turn what the operating system says about the folder into one sentence."""
    try:
        yield
    except OSError as error:
        raise FolderUnusable(
            f"the proxy's folder {folder} can't be used: {error.strerror or error} ({error.filename or folder}); "
            "free space or correct its owner; the last good configuration is untouched"
        ) from error


@contextmanager
def locked(folder: Path, mode: int) -> Iterator[None]:
    """Make the folder if need be and hold it alone; others wait."""
    with usable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o777 != mode:
            folder.chmod(mode)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read(folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """The files that exist among these names."""
    found = {}
    for name in names:
        try:
            found[name] = (folder / name).read_text(errors="replace")
        except FileNotFoundError:
            continue
    return found


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Replace the files, each atomically; all are on disk as candidates before the first is replaced."""
    with usable(folder):
        try:
            for name, text in files.items():
                write_through(folder / f"{name}.new", text)
            for name in files:
                os.replace(folder / f"{name}.new", folder / name)
            sync(folder)
        finally:
            for name in files:
                (folder / f"{name}.new").unlink(missing_ok=True)
