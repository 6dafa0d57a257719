"""Starts a proxy again that died while nobody else does: no controller runs, or it hangs.

    python -m haproxy.keeper FOLDER

FOLDER holds the proxies' folders, `proxy-1` and so on. One that was stopped stays down, since its record is gone then.
A controller that lives looks more often and comes first: it also says what happened.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from haproxy import process
from haproxy.errors import ProxyError
from haproxy.install import Proxy

LOOK = 0.2
"""Seconds between two looks."""
PATIENCE = 0.7
"""Seconds that a proxy must be gone before it is started from here; the controller looks every half second."""
RETRY = 2.0
"""Seconds until a start that failed is tried again."""


def keep(folder: Path, due: Mapping[Path, float], now: float) -> dict[Path, float]:
    """One look. due: when each proxy that is gone will be started, in seconds of the clock of `now`; the next such."""
    next_due = {}
    for proxy in sorted(folder.glob("proxy-*")):
        if not process.fell(proxy):
            continue
        at = due.get(proxy, now + PATIENCE)
        if now >= at:
            at = now + RETRY
            _revive(proxy)
        next_due[proxy] = at
    return next_due


def _revive(folder: Path) -> None:
    try:
        if Proxy(folder).revive():
            print(f"{folder.name} was gone and is started again", flush=True)
    except (ProxyError, OSError) as error:
        print(f"{folder.name} is gone and can't be started: {error}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="haproxy.keeper", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the proxies' folders are")
    folder = parser.parse_args().folder.absolute()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    due: dict[Path, float] = {}
    while True:
        due = keep(folder, due, time.monotonic())
        time.sleep(LOOK)


if __name__ == "__main__":
    main()
