"""By which of its addresses this machine meets its own nodes, and by which name they call themselves."""

from __future__ import annotations

import array
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator

from controller.config import Settings
from machine.ports import free

LOCAL = "localhost"
_SIOCGIFCONF, _IFREQ, _ADDRESS = 0x8912, 40, slice(20, 24)
"""The ioctl that tells all interfaces' IPv4 addresses (netdevice(7)); how long each struct ifreq is, on a machine of 64
bits, and where in it the address is."""


def host_header(settings: Settings) -> str:
    """The name that nodes are called by, and that they call themselves in their answers."""
    return settings.front_door.name if own_address(settings) else LOCAL


def own_address(settings: Settings) -> str | None:
    """The local address to reach loopback nodes from, when the door has a public name; None when there is none.

    A cupsd takes only `localhost` for a name from a peer on 127/8 (scheduler/client.c, valid_host), and its answers
    carry the name it was called by. From this machine's own outward address any name may be used.
    """
    if settings.front_door.name == LOCAL:
        return None
    return next((address for address in _candidates(settings.front_door.listen) if _outward(address)), None)


def every_address() -> str:
    """`::` covers both families where this machine has IPv6."""
    return "::" if free("::1", 0) else "*"


def _candidates(listen: str) -> Iterator[str]:
    """Where the door listens; where packets leave this machine; on a network without a way out, any interface's."""
    yield listen
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # chooses a route; a datagram socket sends nothing until told to
            yield str(probe.getsockname()[0])
        except OSError:
            pass
        found = array.array("B", bytes(256 * _IFREQ))
        told = fcntl.ioctl(probe, _SIOCGIFCONF, struct.pack("iP", len(found), found.buffer_info()[0]))
    for at in range(0, struct.unpack("iP", told)[0], _IFREQ):
        yield socket.inet_ntoa(found[at : at + _IFREQ][_ADDRESS].tobytes())


def _outward(address: str) -> bool:
    """Whether connections to 127.0.0.1 can be made from it, and are no longer local to a cupsd."""
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:  # `*`, or IPv6
        return False
    return not parsed.is_loopback and not parsed.is_unspecified and free(address, 0)
