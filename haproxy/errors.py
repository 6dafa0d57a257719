"""What can go wrong with a proxy.

    ProxyError
    ├── ConfigRefused    HAProxy, or we, will not take this configuration; the last good one stays
    ├── PortTaken        another program listens where the proxy should
    ├── FolderUnusable   the proxy's folder can't be written
    ├── ReloadFailed     no new worker took over; the old one serves on
    ├── RuntimeRefused   a runtime command was answered with something other than "done"
    └── ProxyDown        nothing answers on the proxy's sockets

Each message says what happened, where, and what to do next.
"""

from __future__ import annotations


class ProxyError(Exception):
    """Root of everything this package raises."""


class ConfigRefused(ProxyError):
    """The configuration is not valid; what runs and what lies on disk is the last good one."""


class PortTaken(ProxyError):
    """A port of the proxy belongs to another program."""


class FolderUnusable(ProxyError):
    """The proxy's folder is read-only, full, or belongs to somebody else."""


class ReloadFailed(ProxyError):
    """The master did not bring up a new worker; the old worker goes on with the old configuration."""


class RuntimeRefused(ProxyError):
    """A runtime command was not carried out, or answered in a way that is not known to mean success."""


class ProxyDown(ProxyError):
    """The proxy does not run, or does not answer within the deadline."""
