"""Folders of nodes that the database does not know: after its loss they are taken in again, spool and all.

What a node is can be read from its folder: where it listens from its settings, its slot from the numbers of its jobs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from controller.config_values import split_address
from controller.jobs.collect import named
from controller.jobs.spool import Spool, SpoolError
from controller.nodes import ids, settings
from controller.snapshot import Node, NodeState
from controller.state import State
from controller.store import Store
from haproxy.model import slot_of

_NAME = re.compile(r"node-\d{1,9}\Z")


def adopt(state: State, store: Store, slots: int) -> list[str]:
    """Take in every unknown folder that can be; returns what was done, in words. slots: how many there are."""
    said = []
    taken = {node.slot for node in store.nodes()}
    for folder in strays(state, store):
        node = _node(folder)
        if node is None or node.slot in taken or not 1 <= node.slot <= slots:
            continue
        taken.add(node.slot)
        with store.transaction():
            store.saw_id(node.slot, _highest(folder))
            store.put_node(node)
            store.event("adopted", node.reason, node.name)
        said.append(f"{node.name} in {folder} was unknown to the database and is taken in again, in slot {node.slot}")
    return said


def strays(state: State, store: Store) -> list[Path]:
    """Folders of nodes that belong to no node; an empty one is nobody's loss."""
    known = {node.name for node in store.nodes()}
    folders = state.nodes.iterdir() if state.nodes.is_dir() else ()
    unknown = (folder for folder in folders if folder.is_dir() and folder.name not in known)
    return sorted(folder for folder in unknown if any(folder.iterdir()))


def problems(state: State, store: Store) -> Iterator[str]:
    """One sentence for each folder that belongs to no node, with the jobs that wait in it."""
    for folder in strays(state, store):
        try:
            told, broken = Spool(folder).jobs(folder.name)
        except SpoolError as error:
            yield f"the folder {folder} belongs to no server: {error}"
            continue
        waiting = [job for job in told if job.open]
        jobs = f"the jobs {named(waiting)} wait in it" if waiting else "no job waits in it"
        more = f", and {len(broken)} can't be read" if broken else ""
        yield f"the folder {folder} belongs to no server and could not be taken in at the last start; {jobs}{more}"


def _node(folder: Path) -> Node | None:
    """The node that lived in a folder; None when that can't be told."""
    files = settings.read(folder)
    listens = re.search(r"^Listen\s+(\S+:\d+)\s*$", files.cupsd, re.MULTILINE) if files else None
    slot = slot_of(_highest(folder) + 1)  # of the id that it would give out next
    if not _NAME.match(folder.name) or not listens or not slot:
        return None
    host, port = split_address(listens[1])
    why = "the database did not know it, its folder was there"
    return Node(folder.name, slot, "process", host, port, state=NodeState.STOPPED, since=time.time(), reason=why)


def _highest(folder: Path) -> int:
    return ids.highest(folder / "cache", folder / "etc", folder / "spool")
