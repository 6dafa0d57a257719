"""The files that a node's cupsd reads, as text: rendered from values, compared, and written."""

from __future__ import annotations

import grp
import hashlib
import ipaddress
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import jinja2

from controller.nodes.driver import NodeError, NodeSpec
from controller.processes import MARK

MAX_CLIENTS = 400
"""Connections at a time. The proxies' `maxconn` per server, added up, must stay below; stock is 100."""
MAX_JOBS = 2000
"""Jobs in memory, finished ones included. Each change of a job rewrites them all into job.cache, which costs the node
2 ms with 2,000 jobs and 7 ms with 5,000 (measured). Beyond, finished ones are forgotten; were all open, a new job would
be refused: at 20 s a job that is eleven hours of printing."""
SOCKET_PATH = 107
"""Longest path of a domain socket, in bytes (sys/un.h)."""
HISTORY_SECONDS = 86_400
"""For how long a finished job can be asked for. Its document is deleted at once."""

ADMINISTRATOR_OPERATIONS = (
    "CUPS-Add-Modify-Printer",
    "CUPS-Delete-Printer",
    "CUPS-Add-Modify-Class",
    "CUPS-Delete-Class",
    "CUPS-Set-Default",
    "CUPS-Create-Local-Printer",
    "CUPS-Get-Devices",
    "CUPS-Accept-Jobs",
    "CUPS-Reject-Jobs",
    "Set-Printer-Attributes",
    "Pause-Printer",
    "Resume-Printer",
    "Enable-Printer",
    "Disable-Printer",
    "Pause-Printer-After-Current-Job",
    "Hold-New-Jobs",
    "Release-Held-New-Jobs",
    "Deactivate-Printer",
    "Activate-Printer",
    "Restart-Printer",
    "Shutdown-Printer",
    "Startup-Printer",
    "Purge-Jobs",
    "Promote-Job",
    "Schedule-Job-After",
    "Print-URI",
    "Send-URI",
)
OWNER_OPERATIONS = (
    "Send-Document",
    "Hold-Job",
    "Release-Job",
    "Restart-Job",
    "Set-Job-Attributes",
    "Create-Job-Subscriptions",
    "Renew-Subscription",
    "Cancel-Subscription",
    "Get-Notifications",
    "Reprocess-Job",
    "Cancel-Current-Job",
    "Suspend-Current-Job",
    "Resume-Job",
    "Cancel-My-Jobs",
    "Cancel-Jobs",
    "Close-Job",
    "CUPS-Move-Job",
    "CUPS-Get-Document",
    "Cancel-Job",
    "CUPS-Authenticate-Job",
)

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("controller.nodes"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Files:
    """Both configuration files of a node. Equal values mean that a restart would change nothing."""

    cupsd: str
    cups_files: str

    def differ_from(self, folder: Path) -> bool:
        """Whether the files in a node's folder say something else, or are missing."""
        return self != read(folder)


def render(spec: NodeSpec, folder: Path, operator: str, allow: tuple[str, ...]) -> Files:
    """The files for a node.

    folder: the node's, resolved. operator: the name under which the controller handles jobs.
    allow: addresses of proxies, beside loopback. Raises NodeError for text that would break a file.
    """
    if any(mark in str(folder) for mark in '\n"#\\ '):
        raise NodeError(
            f"the folder {str(folder)!r} holds a blank or a mark that CUPS can't read; choose another --state"
        )
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    values = {
        "listen": [f"{host}:{spec.port}", admin_socket(folder)],
        "allow": [*allow, host],  # from this machine, a connection to a host's own address comes from that address
        "account": account(),
        "operator": operator,
        "folder": folder,
        "mark_name": MARK,
        "mark": mark_of(folder),
        "root": os.geteuid() == 0,
        "group": _group(),
        "max_clients": MAX_CLIENTS,
        "max_jobs": MAX_JOBS,
        "history_seconds": HISTORY_SECONDS,
        "owner_operations": OWNER_OPERATIONS,
        "administrator_operations": ADMINISTRATOR_OPERATIONS,
    }
    return Files(
        cupsd=_templates.get_template("cupsd.conf.j2").render(values),
        cups_files=_templates.get_template("cups-files.conf.j2").render(values),
    )


def read(folder: Path) -> Files | None:
    """What the node in this folder was last started with."""
    try:
        return Files((folder / "etc/cupsd.conf").read_text(), (folder / "etc/cups-files.conf").read_text())
    except OSError:
        return None


def admin_socket(folder: Path) -> Path:
    """The domain socket over which the account that runs the node, and nobody else, administers it."""
    path = folder / "run/cups.sock"
    if len(os.fsencode(path)) > SOCKET_PATH:
        raise NodeError(f"{path} is longer than the {SOCKET_PATH} bytes of a socket's path; choose a shorter --state")
    return path


def account() -> str:
    """The name of the account that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise NodeError(f"the user id {os.geteuid()} has no name in /etc/passwd, and CUPS needs one") from None


def mark_of(folder: Path) -> str:
    """The value of CUPSFLEET_NODE for a folder: the same as long as the folder keeps its path."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _group() -> str:
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return "nogroup"
