"""A node in words, for every page that shows one."""

from __future__ import annotations

from typing import Any

from controller.views.fleet_words import seen_as, takes_jobs
from controller.views.phrases import counted, lasting
from dashboard.components import badge, plain

_CHECKS = {
    "": "not checked yet",
    "INI": "not checked yet",
    "UNK": "not checked yet",
    "SOCKERR": "no socket for the check",
    "L4TOUT": "no connection in time",
    "L4CON": "no connection",
    "L6TOUT": "no TLS in time",
    "L6RSP": "no TLS",
    "L7TOUT": "no answer in time",
    "L7RSP": "a wrong answer",
    "L7STS": "an error for an answer",
}
"""What HAProxy says of its last check (its manual, check_status); others stand for themselves."""


def marks(node: dict[str, Any]) -> str:
    """What a node is, and beside it how it is seen where that differs."""
    health = node.get("health", "")
    words = [node["state"], *([health] if health not in ("", "healthy", node["state"]) else [])]
    return " ".join(badge("node", word) for word in words)


def open_jobs(node: dict[str, Any]) -> str:
    return "jobs unknown" if node["open_jobs"] is None else counted(node["open_jobs"], "open job")


def why(node: dict[str, Any]) -> str:
    """Why it is as it is seen, which is later than why it is in its state."""
    doubted = node["state"] == "ready" and seen_as(node) != "ready"
    return str((node["health_reason"] if doubted else node["reason"]).split("\n")[0])


def waits(node: dict[str, Any], weights: int) -> str:
    """How long a job waits there, and the share of new work that it gets. weights: as of `given`."""
    wait = node.get("wait")
    gets = f"gets {share(node, weights)} of new jobs" if takes_jobs(node) else "gets no new jobs"
    return ("" if not wait else f"waits {lasting(wait)}, ") + gets


def given(nodes: list[dict[str, Any]]) -> int:
    """The weights of all that get new jobs, as one sum."""
    return sum(node["weight"] for node in nodes if takes_jobs(node))


def share(node: dict[str, Any], weights: int) -> str:
    """Of all new work; weights, of which the sum is given, say by how much more one node gets than another."""
    part = node["weight"] / weights if takes_jobs(node) else 0.0
    return "under 1 %" if 0 < part < 0.01 else f"{part:.0%}".replace("%", " %")


def three_views(node: dict[str, Any]) -> str:
    """What HAProxy, CUPS and the printers themselves say of a node."""
    proxies = node["proxies"]
    up = sum(proxy["up"] for proxy in proxies)
    proxy = "not asked" if not proxies else "up" if up == len(proxies) else f"{up} of {len(proxies)} up"
    if proxies and not up:
        check = proxies[0].get("check") or ""
        proxy = f"down, {_CHECKS.get(check) or plain(check)}"
    faults = node.get("faults") or []
    answers = node["state"] != "dead" and not node.get("error") and node["latency"] is not None
    cups = plain(node["error"]) if node.get("error") else "does not answer" if node["state"] == "dead" else "not asked"
    if answers:
        cups = f"answers in {node['latency'] * 1000:.0f} ms"
    printers = "not known" if not answers else plain(", ".join(faults)) if faults else "ok"
    return f"HAProxy: {proxy}  \nCUPS: {cups}  \nPrinters: {printers}"
