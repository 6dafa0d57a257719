"""The fleet in words: whether people can print, and how many nodes are seen as what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.components import counted
from dashboard.times import lasting

SIGNS = {"good": "✓", "doubt": "!", "bad": "✕"}
"""For a mood, where there is no room for more than one character."""
COUNTED = ("ready", "draining", "unhealthy", "dead", "unknown")
UNWELL = ("unhealthy", "disputed", "unknown")
"""What a node may be seen as that its state does not say."""


def seen_as(node: dict[str, Any]) -> str:
    """The one word to count and to filter a node by."""
    health = node.get("health", "")
    if node["state"] == "ready" and health in UNWELL:
        return "unknown" if health == "disputed" else str(health)
    return str(node["state"])


def counts(nodes: list[dict[str, Any]]) -> dict[str, int]:
    """How many nodes are seen as what; other words only where there are any."""
    found = dict.fromkeys(COUNTED, 0)
    for node in nodes:
        found[seen_as(node)] = found.get(seen_as(node), 0) + 1
    return found


def mood(status: Mapping[str, Any]) -> str:
    """`good`, `doubt` or `bad`: what the first line is marked with."""
    ready = counts(status["nodes"])["ready"]
    if ready == 0:
        return "bad"
    return "doubt" if ready < len(status["nodes"]) or status["problems"] else "good"


def sentence(status: Mapping[str, Any]) -> str:
    """Whether people can print, and when the last of those who wait will."""
    nodes = status["nodes"]
    ready = counts(nodes)["ready"]
    if not nodes:
        return "Nobody can print: there is no server yet."
    if ready == 0:
        return f"Nobody can print: none of {counted(len(nodes), 'server')} is ready. {_waiting(status)}"
    if ready == len(nodes):
        servers = "The only server is ready." if ready == 1 else f"All {ready} servers ready."
        return f"{servers} {_waiting(status)}"
    return f"People can print: {ready} of {len(nodes)} servers ready. {_waiting(status)}"


def _waiting(status: Mapping[str, Any]) -> str:
    waiting = sum(node.get("waiting") or 0 for node in status["nodes"])
    if not waiting:
        return "No job waits."
    longest = max((node.get("wait") or 0.0 for node in status["nodes"]), default=0.0)
    last = "it will start" if waiting == 1 else "the last will start"
    return f"{counted(waiting, 'job')} waiting, {last} in about {lasting(longest)}."


def for_everybody(status: Mapping[str, Any]) -> str:
    """What people may know who print and look after nothing, as Markdown."""
    if counts(status["nodes"])["ready"]:
        return f"You can print, to `{status['front_door']['url']}`"
    return "Nobody can print at the moment. What you have printed is kept until the servers are back."
