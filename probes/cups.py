"""Administration of a print server through pycups, which never runs in the caller's process.

pycups has no read time-out, leaks memory at each call and keeps state per thread; a stopped cupsd would hold its
caller for ever. So each batch of calls runs in a process of its own (probes/cups_child.py) that is killed at the
deadline. Requests go in, and results come out, as JSON on its standard streams: no secret is on a command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.errors import Overdue, ProbeError, Refused, Unintelligible, Unreachable

_KINDS = {"refused": Refused, "unreachable": Unreachable}
_CHILD = Path(__file__).with_name("cups_child.py")


@dataclass(frozen=True)
class Token:
    """As whom a server is administered, and how that is proved."""

    user: str
    """Sent as requesting-user-name."""
    socket: Path | None = None
    """A domain socket of the server. The kernel tells it who connects, which proves administration rights
    (PeerCred) without a secret."""
    host: str | None = None
    """Where the controller reaches the server, when that is not the address that proxies use."""
    tls: bool = False


@dataclass(frozen=True)
class Call:
    """One method of cups.Connection with its arguments; `options` are those given by name."""

    method: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def call(host: str, port: int, token: Token, calls: Sequence[Call], deadline: float) -> list[Any]:
    """Make the calls one after another on one connection; returns their results in JSON's types.

    deadline: seconds for all of it, start of the process (about 0.1 s) included. Stops at the first failure:
    Overdue, Unreachable, Refused (with the IPP status) or ProbeError for a wrong call.
    """
    server = {
        "host": f"/proc/self/cwd/{token.socket.name}" if token.socket else token.host or host,
        "port": port,
        "user": token.user,
        "tls": token.tls,
    }
    request = {"server": server, "calls": [[one.method, one.arguments, one.options] for one in calls]}
    # A socket's address holds 107 bytes, and its path may be longer: the child runs beside it.
    place = token.socket.parent if token.socket else Path("/")
    answer = _run(json.dumps(request), place, deadline, f"{host}:{port}")
    if "error" not in answer:
        return list(answer["results"])
    message = f"{host}:{port}: {answer['error']}"
    if answer["kind"] == "refused":
        raise Refused(message, answer["status"])
    raise _KINDS.get(answer["kind"], ProbeError)(message)


def _run(request: str, place: Path, deadline: float, server: str) -> dict[str, Any]:
    try:
        process = subprocess.Popen(
            # -I keeps the caller's folder and PYTHON* variables out; the child needs only pycups.
            [sys.executable, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            cwd=place,
            text=True,
        )
    except OSError as error:
        raise Unreachable(f"{server}: {error}") from None
    try:
        out, complaint = process.communicate(request, timeout=deadline)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Overdue(f"{server} did not answer within {deadline:g} s") from None
    try:
        return dict(json.loads(out))
    except ValueError:
        raise Unintelligible(f"{server}: pycups ended with status {process.returncode}: {complaint[-300:]}") from None


def _environment() -> dict[str, str]:
    """Nothing of the caller's that would steer libcups (CUPS_SERVER, HOME and its client.conf)."""
    keep = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return keep | {"LANG": "C.UTF-8", "HOME": "/nonexistent"}
