"""Where this machine has its programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

SERVERS = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian keeps servers; an ordinary user's PATH leaves it out."""


def program(name: str) -> Path | None:
    """The program's path; None when it is not installed."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SERVERS)))
    return Path(found) if found else None
