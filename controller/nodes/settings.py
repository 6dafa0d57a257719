"""The files that a node's cupsd reads, as text: rendered from values, compared, and written."""

from __future__ import annotations

import grp
import hashlib
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import jinja2

from controller.nodes.driver import NodeError, NodeSpec
from controller.processes import MARK

MAX_CLIENTS = 400
"""Connections at a time. The proxies' `maxconn` per server, added up, must stay below; stock is 100."""
MAX_JOBS = 5000
"""Jobs in memory, finished ones included. A change of a job rewrites job.cache, about 250 bytes for each."""
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
    values = {
        "listen": _listen(spec),
        "allow": allow,
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


def _listen(spec: NodeSpec) -> list[str]:
    """Addresses to listen on. Administration needs loopback: cupsd takes its certificate from there only."""
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    extra = [] if is_loopback(spec.host) else [f"127.0.0.1:{spec.port}"]
    return [f"{host}:{spec.port}", *extra]


def _group() -> str:
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return "nogroup"
