"""The fleet in words: whether people can print, and how many nodes are seen as what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.components import capital, counted
from dashboard.times import lasting

SIGNS = {"good": "✓", "doubt": "!", "bad": "✕"}
"""For a mood, where there is no room for more than one character."""
COUNTED = ("ready", "draining", "unhealthy", "dead", "unknown")
_WITH_JOBS = ("ready", "unhealthy", "draining", "dead", "rescuing")
"""States of nodes that may have jobs, also while they don't answer."""
UNWELL = ("unhealthy", "disputed", "unknown")
"""What a node may be seen as that its state does not say."""


def seen_as(node: dict[str, Any]) -> str:
    """The one word to count and to filter a node by."""
    health = node.get("health", "")
    if node["state"] == "ready" and health in UNWELL:
        return "unknown" if health == "disputed" else str(health)
    return str(node["state"])


def takes_jobs(node: dict[str, Any]) -> bool:
    """Whether the door gives it new jobs. Where most look bad at once, all of them go on printing."""
    heard = not node["proxies"] or any(proxy["up"] for proxy in node["proxies"])
    return bool(node["weight"] > 0 and (heard or seen_as(node) == "ready"))


def can_print(status: Mapping[str, Any]) -> bool:
    return any(map(takes_jobs, status["nodes"]))


def counts(nodes: list[dict[str, Any]]) -> dict[str, int]:
    """How many nodes are seen as what; other words only where there are any."""
    found = dict.fromkeys(COUNTED, 0)
    for node in nodes:
        found[seen_as(node)] = found.get(seen_as(node), 0) + 1
    return found


def mood(status: Mapping[str, Any]) -> str:
    """`good`, `doubt` or `bad`: what the first line is marked with."""
    if not can_print(status):
        return "bad"
    ready = counts(status["nodes"])["ready"]
    return "doubt" if ready < len(status["nodes"]) or status["problems"] else "good"


def sentence(status: Mapping[str, Any]) -> str:
    """Whether people can print, and when the last of those who wait will."""
    nodes = status["nodes"]
    ready = counts(nodes)["ready"]
    if not nodes:
        return "Nobody can print: there is no server yet."
    if not can_print(status):
        return f"Nobody can print: none of {counted(len(nodes), 'server')} takes jobs. {_waiting(status)}"
    if ready == 0:
        return f"{_still(nodes)} {_waiting(status)}"
    if ready == len(nodes):
        servers = "The only server is ready." if ready == 1 else f"All {ready} servers ready."
        return f"{servers}{_stopped(status)} {_waiting(status)}"
    return f"People can print: {ready} of {len(nodes)} servers ready.{_stopped(status)} {_waiting(status)}"


def _stopped(status: Mapping[str, Any]) -> str:
    """Which printers print nowhere, whatever the servers do; '' for none."""
    names = status["not_printing"]
    if len(names) <= 1:
        return f" But printer {names[0]} does not print." if names else ""
    return f" But {len(names)} of {len(status['printers'])} printers do not print."


def _still(nodes: list[dict[str, Any]]) -> str:
    taking = sum(map(takes_jobs, nodes))
    said = f"{counted(taking, 'server')} still {'takes' if taking == 1 else 'take'} jobs."
    return f"People can print, though no server looks well: {said}"


def _waiting(status: Mapping[str, Any]) -> str:
    waiting = sum(node.get("waiting") or 0 for node in status["nodes"])
    stuck = sum(node.get("stuck") or 0 for node in status["nodes"])
    held = f" {stuck} {'is' if stuck == 1 else 'are'} held or stopped." if stuck else ""
    unknown = any(node["state"] in _WITH_JOBS and node.get("waiting") is None for node in status["nodes"])
    if not waiting:
        return f"{'How many jobs wait is not known.' if unknown else 'No job waits.'}{held}"
    longest = max((node.get("wait") or 0.0 for node in status["nodes"]), default=0.0)
    last = "it will start" if waiting == 1 else "the last will start"
    least = "At least " if unknown else ""
    return f"{least}{counted(waiting, 'job')} waiting, {last} in about {lasting(longest)}.{held}"


def doing(scaling: Mapping[str, Any]) -> str:
    """How large the fleet is and should be, and why. scaling: as in `Views.status`."""
    actual, desired = scaling["actual"], scaling["desired"]
    serve = f"{capital(counted(actual, 'server'))} {'takes' if actual == 1 else 'take'} jobs"
    if scaling["paused_by"]:
        return f"Scaling is paused by {scaling['paused_by']}. {serve}; dead ones come back, and nothing else is done."
    said = f"{serve}, {'as many as' if actual == desired else desired} should: {why_size(scaling)}"
    return f"Dry run, nothing is done: {said}" if scaling["dry_run"] else said


def why_size(scaling: Mapping[str, Any]) -> str:
    """What decided the size in the end: the last bound that changed it, else the rule that asked for most."""
    if scaling["clamps"]:
        return str(scaling["clamps"][-1].split(": ", 1)[1])
    return str(scaling["reason"].split("; ")[0])


def for_everybody(status: Mapping[str, Any]) -> str:
    """What people may know who print and look after nothing, as Markdown."""
    if can_print(status):
        waits = ", ".join(f"`{name}`" for name in status["not_printing"])
        stopped = f". What is printed to {waits} waits: nothing comes out there at the moment" if waits else ""
        return f"You can print, to `{status['front_door']['url']}`{stopped}"
    return "Nobody can print at the moment. What you have printed is kept until the servers are back."
