"""A node in words, for every page that shows one."""

from __future__ import annotations

from typing import Any

from dashboard.components import badge, counted, plain
from dashboard.times import lasting


def marks(node: dict[str, Any]) -> str:
    """What a node is, and beside it how it is seen where that differs."""
    health = node.get("health", "")
    words = [node["state"], *([health] if health not in ("", "healthy", node["state"]) else [])]
    return " ".join(badge("node", word) for word in words)


def open_jobs(node: dict[str, Any]) -> str:
    return "jobs unknown" if node["open_jobs"] is None else counted(node["open_jobs"], "open job")


def waits(node: dict[str, Any]) -> str:
    """How long a job waits there, and the share of new work that it gets."""
    wait = node.get("wait")
    return ("" if not wait else f"waits {lasting(wait)}, ") + f"weight {node['weight']}"


def three_views(node: dict[str, Any]) -> str:
    """What HAProxy, CUPS and the printers themselves say of a node."""
    proxies = node["proxies"]
    up = sum(proxy["up"] for proxy in proxies)
    proxy = "not asked" if not proxies else "up" if up == len(proxies) else f"{up} of {len(proxies)} up"
    if proxies and not up:
        proxy = plain(f"down ({proxies[0].get('check') or 'no check yet'})")
    faults = node.get("faults") or []
    answers = node["state"] != "dead" and not node.get("error") and node["latency"] is not None
    cups = plain(node["error"]) if node.get("error") else "not asked"
    if node["state"] == "dead":
        cups = "gone"
    elif answers:
        cups = f"answers in {node['latency'] * 1000:.0f} ms"
    printers = "not known" if not answers else plain(", ".join(faults)) if faults else "ok"
    return f"HAProxy: {proxy}  \nCUPS: {cups}  \nPrinters: {printers}"
