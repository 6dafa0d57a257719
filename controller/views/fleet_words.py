"""The fleet in words, the same on every page and in `status`: what is wrong, and whether people can print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from controller.views.phrases import capital, counted, lasting

SIGNS = {"good": "✓", "doubt": "!", "bad": "✕"}
"""For a mood, where there is no room for more than one character."""
COUNTED = ("ready", "draining", "unhealthy", "dead", "unknown")
_WITH_JOBS = ("ready", "unhealthy", "draining", "dead", "rescuing")
"""States of nodes that may have jobs, also while they don't answer."""
NAMED = 3
"""Of printers and servers that are not well, so many are named; of more there is a number."""
OLD_AFTER = 10.0
"""Seconds after which what was seen is shown as old, whatever the controller's process does."""
_NOT_UP = ("ordered", "starting", "dead")
"""States in which what failed is its start."""
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


def sentence(status: Mapping[str, Any], clock: Callable[[float], str] | None = None) -> str:
    """What is wrong, whether people can print, when the last of those who wait will, and what waits for somebody.

    status: as of `Views.status`. clock: how its reader writes seconds since 1970; without one no time stands there.
    """
    if status["stopped"]:
        return "Nobody can print: the fleet is stopped. Start it with: ./cupsfleet up"
    if not status["nodes"]:
        return f"{_controller(status)}Nobody can print: there is no server yet."
    parts = (_standing(status["standing"], len(status["printers"])), _printing(status["nodes"]), _waiting(status))
    since = as_of(status, clock) if clock else ""
    return f"{_controller(status)}{since}{' '.join(part for part in parts if part)}"


def age_of(status: Mapping[str, Any]) -> float | None:
    """Seconds since what is shown was seen, where that is too long ago to be taken for now; else None."""
    controller = status["controller"]
    age: float | None = controller["age"]
    if age is None or (controller["pid"] is not None and age < OLD_AFTER):
        return None
    return age


def as_of(status: Mapping[str, Any], clock: Callable[[float], str]) -> str:
    """Before a sentence about the fleet: of when it is, where that is not now; else ''."""
    return "" if age_of(status) is None else f"As of {clock(status['controller']['seen'])}: "


def _controller(status: Mapping[str, Any]) -> str:
    """That nobody looks after the servers; '' where somebody does."""
    controller = status["controller"]
    if controller["pid"] is None:
        return "No controller runs, so nothing is repaired; start it with: ./cupsfleet up. "
    if controller["age"] is None:
        return "The controller has not looked at the fleet yet. "
    return "The controller does not report, so nothing may be repaired. " if controller["silent"] else ""


def _standing(printers: Sequence[Mapping[str, Any]], known: int) -> str:
    """Which printers print nothing, and what waits for them; '' for none. known: how many printers there are."""
    if not printers:
        return ""
    wait = _wait_for_somebody(sum(printer["jobs"] for printer in printers))
    if len(printers) > NAMED:
        return f"{len(printers)} of {known} printers do not print{wait}."
    return f"{capital(' and '.join(map(_stands, printers)))}{wait}."


def _stands(printer: Mapping[str, Any]) -> str:
    why = f" ({printer['why']})" if printer["why"] else " (it was stopped)"
    return f"printer {printer['name']} {'does not print' if printer['everywhere'] else 'has a fault'}{why}"


def _wait_for_somebody(jobs: int) -> str:
    return f"; {counted(jobs, 'job')} {'waits' if jobs == 1 else 'wait'} until somebody sees to it" if jobs else ""


def _printing(nodes: list[dict[str, Any]]) -> str:
    """Whether the servers take jobs, and which of them are not as they should be."""
    ready, of = counts(nodes)["ready"], len(nodes)
    if ready == of:
        return "The only server is ready." if ready == 1 else f"All {ready} servers ready."
    taking = sum(map(takes_jobs, nodes))
    if not taking:
        return f"Nobody can print: none of {counted(of, 'server')} takes jobs; {_others(nodes)}."
    if not ready:
        still = f"{counted(taking, 'server')} still {'takes' if taking == 1 else 'take'} jobs"
        return f"People can print, though no server looks well: {still}; {_others(nodes)}."
    return f"People can print: {ready} of {of} servers ready; {_others(nodes)}."


def _others(nodes: list[dict[str, Any]]) -> str:
    """Those that are not ready: by name where they are few."""
    others = [node for node in nodes if seen_as(node) != "ready"]
    if len(others) <= NAMED:
        return ", ".join(map(_named, others))
    return ", ".join(f"{count} {word}" for word, count in counts(others).items() if count)


def _named(node: dict[str, Any]) -> str:
    """What a node is, and that it can't be brought back where that was tried."""
    fails = node["failure"] and node["state"] in _NOT_UP
    return f"{node['name']} is {seen_as(node)}" + (" and does not start" if fails else "")


def _waiting(status: Mapping[str, Any]) -> str:
    """What waits for its turn, and what waits for somebody beside what a printer keeps waiting."""
    kept, over = sum(printer["jobs"] for printer in status["standing"]), status["over_limit"]
    held = sum(node.get("stuck") or 0 for node in status["nodes"]) - kept - over
    said = [_turn(status["nodes"], "other job" if kept else "job")]
    if over > 0:
        said.append(f"{counted(over, 'job')} {'is' if over == 1 else 'are'} held until the account allows it.")
    if held > 0:
        said.append(f"{held} {'is' if held == 1 else 'are'} held or stopped.")
    return " ".join(said)


def _turn(nodes: list[dict[str, Any]], job: str) -> str:
    """How many jobs wait for their turn, and until when. job: what one is called."""
    waiting = sum(node.get("waiting") or 0 for node in nodes)
    unknown = any(node["state"] in _WITH_JOBS and node.get("waiting") is None for node in nodes)
    if not waiting:
        return "How many jobs wait is not known." if unknown else f"No {job} waits."
    longest = max((node.get("wait") or 0.0 for node in nodes), default=0.0)
    last = "it will start" if waiting == 1 else "the last will start"
    return f"{'At least ' if unknown else ''}{counted(waiting, job)} waiting, {last} in about {lasting(longest)}."


def doing(scaling: Mapping[str, Any]) -> str:
    """How large the fleet is and should be, and why. scaling: as in `Views.status`."""
    actual, desired = scaling["actual"], scaling["desired"]
    serve = f"{capital(counted(actual, 'server'))} {'takes' if actual == 1 else 'take'} jobs"
    if scaling["paused_by"]:
        return f"Scaling is paused by {scaling['paused_by']}. {serve}; dead ones come back; the load changes nothing."
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
        waits = ", ".join(f"`{printer['name']}`" for printer in status["standing"] if printer["everywhere"])
        stopped = f". What is printed to {waits} waits: nothing comes out there at the moment" if waits else ""
        return f"You can print, to `{status['front_door']['url']}`{stopped}"
    return "Nobody can print at the moment. What you have printed is kept until the servers are back."
