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

MAX_CLIENTS, STOCK_MAX_CLIENTS = 400, 100
"""Connections at a time to a server of ours, and to one that someone else runs, unless changed there."""
MAX_JOBS = 2000
"""Jobs in memory, finished ones included. Each change of a job rewrites them all into job.cache, which costs the node
2 ms with 2,000 jobs and 7 ms with 5,000 (measured). Beyond, finished ones are forgotten; were all open, a new job would
be refused: at 20 s a job that is eleven hours of printing."""
FOLDER_BYTES = 800
"""Longest folder: cupsd keeps paths in 1,024 bytes, and the longest that it makes below a node's folder has 60."""
SOCKET = Path("run/cups.sock")
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
    allow: addresses of proxies, beside loopback.
    """
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    values = {
        # The node runs in its folder. By its own path the socket would fit below short folders only (107 bytes).
        "listen": [f"{host}:{spec.port}", f"/proc/self/cwd/{SOCKET}"],
        "allow": [*allow, host],  # from this machine, a connection to a host's own address comes from that address
        "account": account(),
        "operator": operator,
        # In CUPS's files a line's first # starts a comment unless a backslash stands before it (cups/file.c) …
        "folder": str(folder).replace("#", "\\#", 1),
        # … and in the names of logs % starts a variable, unless it is doubled (scheduler/log.c).
        "log": str(folder).replace("#", "\\#", 1).replace("%", "%%") + "/log",
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
        cupsd, cups_files = (
            (folder / "etc" / name).read_text(errors="surrogateescape") for name in ("cupsd.conf", "cups-files.conf")
        )
        return Files(cupsd, cups_files)
    except OSError:
        return None


def admin_socket(folder: Path) -> Path:
    """The domain socket over which the account that runs the node, and nobody else, administers it."""
    return folder / SOCKET


def usable_path(folder: Path) -> str:
    """'' if nodes can live in or below this folder (resolved), else a sentence that says why not."""
    if any(ord(mark) < 0x20 or ord(mark) == 0x7F for mark in str(folder)):
        return f"the folder {str(folder)!r} holds a control character, which CUPS can't read; choose another --state"
    if any(mark in str(folder) for mark in ":;"):  # cupsd looks for filters in a list of folders (cups/file.c)
        return f"the folder {folder} holds a : or ;, by which CUPS separates folders; choose another --state"
    if len(os.fsencode(folder)) > FOLDER_BYTES:
        return (
            f"the folder {folder} is longer than the {FOLDER_BYTES} bytes that CUPS can handle; choose another --state"
        )
    return ""


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
