"""Runs a command in a view of the file system where one folder can be reached by everybody. Root only.

    python enclosure.py ANCESTOR FOLDER [--show=OTHER …] COMMAND …    runs it with FOLDER as its working directory

cupsd started by root runs filters and backends as `lp`, which must be able to enter every folder above the spool.
Below a folder of mode 700 (/root, `mktemp -d`) it can't. Here ANCESTOR, the first one that bars the way, is covered
by an empty file system, in which FOLDER and each OTHER appear again under their own paths. All of that in a mount
namespace of the command's own: nobody else sees it, and it goes away with the command. Other files below ANCESTOR are
out of sight.
"""

from __future__ import annotations

import ctypes
import os
import sys
from itertools import takewhile

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def enclose(ancestor: str, folders: list[str]) -> None:
    """Change this process's view. Raises OSError where the kernel does not permit it."""
    _check(_libc.unshare(CLONE_NEWNS))
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    # Opened after unshare, for only mounts of the own namespace can be bound; before ANCESTOR is covered.
    real = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in folders}
    _mount("tmpfs", ancestor, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k")
    os.umask(0o022)
    for folder, handle in real.items():
        os.makedirs(folder, mode=0o755, exist_ok=True)
        _mount(f"/proc/self/fd/{handle}", folder, None, MS_BIND | MS_REC)
        os.close(handle)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [os.fsencode(word) if word is not None else None for word in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options)))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    others = list(takewhile(lambda word: word.startswith("--show="), sys.argv[3:]))
    try:
        enclose(sys.argv[1], [sys.argv[2], *(word.removeprefix("--show=") for word in others)])
    except OSError as error:
        sys.exit(
            f"{sys.argv[1]} can't be entered by the account lp, and this system does not allow the view that would "
            f"help ({error.strerror}): choose another --state, below folders of mode 755, such as /var/lib/cupsfleet"
        )
    os.chdir(sys.argv[2])  # in the new view
    command = sys.argv[3 + len(others) :]
    os.execv(command[0], command)
