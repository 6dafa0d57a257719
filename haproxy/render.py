"""From an Edge to the files a proxy runs on. Pure: the same value gives the same bytes."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import jinja2

from haproxy.errors import ConfigRefused
from haproxy.model import Edge, Server, User

HERE = Path(__file__).parent
CONFIG = "haproxy.cfg"
MAP = "slots.map"
LUA = ("door.lua", "identity.lua", "ipp.lua")
DASHBOARD_DOWN = "dashboard-down.html"
SOCKETS = {name: f"{name}.sock" for name in ("stats", "upgraded", "http", "anynode", "anyhow")}
"""Relative names: the proxy runs in its folder, because a unix socket's path may have about 100 characters only."""

EMPTY_HOST, EMPTY_PORT = "127.0.0.1", 1
"""Where an empty slot points; it is in maintenance, so that nothing goes there."""

REFUSALS = (400, 403, 408, 413)

HEALTH_REQUEST = (
    "0200400100000001"  # IPP 2.0, CUPS-Get-Default
    "0147001261747472696275746573 2d63686172736574 00057574662d38"
    "48001b617474726962757465732d6e61747572616c2d6c616e6775616765 0002656e03"
).replace(" ", "")


@dataclass(frozen=True)
class Slot:
    """One server line, occupied or not."""

    number: int
    host: str
    port: int
    weight: int
    verify: str
    occupied: bool


def render(edge: Edge) -> str:
    """The configuration file. Raises ConfigRefused for values that a configuration can't carry."""
    _refuse_unsafe(edge)
    return _render(edge, fingerprint(edge))


def render_files(edge: Edge) -> dict[str, str]:
    """Every file the proxy needs besides certificates, by name inside its folder."""
    files = {CONFIG: render(edge), MAP: render_map(edge)}
    return files | _static_files()


def render_map(edge: Edge) -> str:
    """The map from a slot's number to its server: occupied slots only."""
    return "".join(f"{server.slot} {server.name}\n" for server in sorted(edge.servers))


def bind_line(edge: Edge) -> str:
    """Where the door listens. `::` means every address of both families."""
    if edge.listen == "::":
        return f"bind :::{edge.port} v4v6"
    host = f"[{edge.listen}]" if ":" in edge.listen else edge.listen
    return f"bind {host}:{edge.port}"


def fingerprint(edge: Edge) -> str:
    """Names everything about an edge that only a reload can change; the worker reports it in `show info`."""
    fixed = tuple(_fixed_part(server) for server in sorted(edge.servers) if needs_reload(server))
    bare = _render(replace(edge, servers=fixed), "")
    parts = [bare, *(text for _, text in sorted(_static_files().items()))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def needs_reload(server: Server) -> bool:
    """Whether the server's line carries something that no runtime command can set."""
    return server.ca_file is not None or not is_address(server.host)


def is_address(host: str) -> bool:
    """Whether the host is an IP address; names can be given in the file only."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _fixed_part(server: Server) -> Server:
    if is_address(server.host):
        return replace(server, host=EMPTY_HOST, port=EMPTY_PORT, weight=0)
    return replace(server, weight=0)


def _render(edge: Edge, mark: str) -> str:
    users = sorted(edge.users)
    return _template().render(
        edge=edge,
        bind=bind_line(edge),
        certificate=str(edge.certificate.absolute()),
        fingerprint=mark,
        sockets=SOCKETS,
        users=users,
        administrators=any(user.admin for user in users),
        slots=_slots(edge),
        refusals=REFUSALS,
        map_file=MAP,
        dashboard_down_file=DASHBOARD_DOWN,
        health_request=HEALTH_REQUEST,
        host=f"{edge.host_header}:{edge.port}",
        socket_owner=f" user {quoted(edge.run_as)}" if edge.run_as else "",
        source=f" source {edge.source_address}" if edge.source_address else "",
    )


def _slots(edge: Edge) -> list[Slot]:
    occupants = {server.slot: server for server in edge.servers}
    return [_slot(number, occupants.get(number)) for number in range(1, edge.max_slots + 1)]


def _slot(number: int, server: Server | None) -> Slot:
    if server is None:
        return Slot(number, EMPTY_HOST, EMPTY_PORT, 0, "none", False)
    verify = f"required ca-file {quoted(str(server.ca_file.absolute()))}" if server.ca_file else "none"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return Slot(number, host, server.port, server.weight, verify, True)


def quoted(text: str) -> str:
    """One word of a configuration, whatever characters it has (strong quotes, management guide 2.2)."""
    return "'" + text.replace("'", "'\\''") + "'"


def literal(text: str) -> str:
    """One word that HAProxy reads as a log format, where % would begin a variable."""
    return quoted(text.replace("%", "%%"))


def milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quoted": quoted, "literal": literal, "milliseconds": milliseconds}
    return environment.get_template("haproxy.cfg.j2")


@cache
def _static_files() -> dict[str, str]:
    files = {name: (HERE / "lua" / name).read_text() for name in LUA}
    page = (HERE / "templates" / DASHBOARD_DOWN).read_text()
    return files | {DASHBOARD_DOWN: page}


def _refuse_unsafe(edge: Edge) -> None:
    """Stop what would mean something else to HAProxy or to cupsd than to us."""
    for user in edge.users:
        _refuse_user(user)
    _refuse_unless(r"[A-Za-z0-9_-]{8,128}", edge.secret, "the secret: 8 to 128 letters, digits, - and _ are allowed")
    _refuse_unless(r"[A-Za-z0-9.:*_\[\]-]+", edge.listen, f"listen address {edge.listen!r}")
    _refuse_unless(r"[A-Za-z0-9.:\[\]-]+", edge.host_header, f"host header {edge.host_header!r}")
    if edge.source_address is not None and not is_address(edge.source_address):
        raise ConfigRefused(f"source address {edge.source_address!r} is not an IP address; correct the configuration")
    for server in edge.servers:
        _refuse_unless(r"[A-Za-z0-9.:-]+", server.host, f"host {server.host!r} of slot {server.slot}")
        if not 0 <= server.weight <= 256:
            raise ConfigRefused(f"weight {server.weight} of slot {server.slot} lies outside 0…256; correct it")
    for path in [edge.certificate, *(server.ca_file for server in edge.servers if server.ca_file)]:
        if re.search(r"[\x00-\x1f]", str(path)):
            raise ConfigRefused(f"path {str(path)!r} holds a control character; move the file elsewhere")


def _refuse_user(user: User) -> None:
    if user.name == "root":
        raise ConfigRefused("a user named root would own every job on a node; give the person another name")
    if not user.name.isprintable() or ":" in user.name or not 1 <= len(user.name.encode()) <= 127:
        raise ConfigRefused(f"user name {user.name!r} can't log in; take 1 to 127 printable bytes without ':'")
    _refuse_unless(
        r"\$6\$(rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}",
        user.password_hash,
        f"the password of {user.name!r}: it must be a SHA-512 crypt hash ($6$…), set it anew",
    )


def _refuse_unless(pattern: str, text: str, what: str) -> None:
    if not re.fullmatch(pattern, text):
        raise ConfigRefused(f"the proxy can't be configured with {what}")
