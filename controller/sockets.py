"""Whether a server could listen somewhere on this machine."""

from __future__ import annotations

import socket


def hindrance(host: str, port: int) -> str:
    """Why nobody could listen there now, in the system's words; '' when somebody could. Port 0 is any one."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def free(host: str, port: int) -> bool:
    return not hindrance(host, port)
