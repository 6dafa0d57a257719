"""Whether a server could listen somewhere on this machine."""

from __future__ import annotations

import socket


def hindrance(host: str, port: int) -> str:
    """Why nobody could listen there now, in the system's words; '' when somebody could. Port 0 is any one.

    `*` is every IPv4 address, `::` every address of both families.
    """
    address = "0.0.0.0" if host == "*" else host
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address == "::":
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind((address, port))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def free(host: str, port: int) -> bool:
    return not hindrance(host, port)
