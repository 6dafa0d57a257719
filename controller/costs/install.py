"""The backend that counts, as nodes get it."""

from __future__ import annotations

import os
import pwd
import sysconfig
from pathlib import Path

from controller.nodes.process import Backend

HERE = Path(__file__).parent
RUN_ON_NODES = ("__init__.py", "backend.py", "counter.py", "journal.py", "progress.py", "pump.py", "said.py", "count")
"""What the launcher imports there."""


def backend() -> Backend:
    """In front of every device of a node. Where cupsd is root it is too, to become what each real backend must be."""
    modules = {f"controller/costs/{name}": HERE / name for name in RUN_ON_NODES}
    return Backend(
        "cupsfleet",
        HERE / "launcher.py",
        as_root=True,
        in_front=True,
        modules={"controller/__init__.py": HERE.parent / "__init__.py", **modules},
        settings={"packages": str(packages()), **_account()},
        needs=(packages(),),
    )


def packages() -> Path:
    """Where pikepdf is installed."""
    return Path(sysconfig.get_paths()["platlib"])


def _account() -> dict[str, int]:
    """The account under which root's cupsd runs backends (cups-files.conf.j2)."""
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam("lp")
    except KeyError:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid}
