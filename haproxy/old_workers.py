"""Workers that a reload left behind: they listen no more and finish what they carry, for up to an hour.

The statistics page is answered by the new worker alone, so an upload that began before a reload is seen only here.
Format: HAProxy management guide, 9.4, `@!<pid>` on the master socket.
"""

from __future__ import annotations

from haproxy.runtime import MASTER, Runtime
from haproxy.stats import parse


def sessions(runtime: Runtime) -> dict[int, int]:
    """Sessions and waiting requests of old workers by slot. Raises ProxyDown when they can't be asked."""
    found: dict[int, int] = {}
    for worker in runtime.processes().old_workers:
        for row in parse(runtime.ask(f"@!{worker} show stat", MASTER)).servers:
            found[row.slot] = found.get(row.slot, 0) + row.current_sessions + row.queue
    return found
