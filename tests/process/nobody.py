"""The project run by an ordinary user, with the PATH that Debian gives one: without the folders of servers."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SHOWN = (
    'mount --bind "$1" "$2" && mount --bind "$3" "$4" && shift 4 && '
    'exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"'
)


@dataclass(frozen=True)
class Nobody:
    """A home of the account `nobody`; what runs in it sees the project there, which may lie where it may not go."""

    home: Path

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.home / "code"), "HOME": str(self.home)}

    @property
    def python(self) -> list[str]:
        """The beginning of a command that runs Python as that user. Needs root."""
        code, venv = str(self.home / "code"), str(self.home / "venv")
        places = [str(Path(__file__).parents[2]), code, sys.prefix, venv]
        view = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SHOWN, "sh"]
        return [*view, *places, f"{venv}/bin/python"]


@contextmanager
def nobody() -> Iterator[Nobody]:
    """His home is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="home-of-nobody-"))
    try:
        for folder in (home / "code", home / "venv", home / "state"):
            folder.mkdir()
        for folder in (home, home / "state"):
            shutil.chown(folder, "nobody", "nogroup")
        yield Nobody(home)
    finally:
        shutil.rmtree(home)
