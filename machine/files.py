"""Files that are written whole or not at all: after a crash it is the old one or the new one."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def replace_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace the file as a whole; a reader sees the old text or the new one. Raises OSError."""
    candidate = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        write_through(candidate, text, mode)
        os.replace(candidate, path)
    except OSError:
        candidate.unlink(missing_ok=True)
        raise


def write_through(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file that is on the disk, with its mode, when this returns. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text.encode(errors="surrogateescape"))
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Return when the folder's entries are on the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
