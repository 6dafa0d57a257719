"""When a node is called silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from controller.snapshot import Node, NodeState
from controller.state import State
from controller.store import Store
from controller.whole_queue.nodes import SIGN_OF_LIFE, SUSPECT_PATIENCE, Directory, Nodes, Reach, Reply

NODE = Node("node-1", 1, "process", "127.0.0.1", 1)
PATIENCE = 0.2


class Fleet:
    def nodes(self) -> tuple[Node, ...]:
        return (NODE,)


def asked(exchange: Callable[[], Awaitable[None]], meanwhile: Callable[[], None] = lambda: None) -> Reply:
    """A node's reply, where an exchange with it takes what is given and something else goes on in this process."""

    async def answered(node: Node, body: bytes, host: str, wanted: frozenset[bytes]) -> Reply:
        await exchange()
        return Reply(node, http_status=200)

    async def run() -> Reply:
        nodes = Nodes(None, Fleet(), Reach(PATIENCE))  # type: ignore[arg-type]
        nodes._exchange = answered  # type: ignore[method-assign]
        reply = asyncio.create_task(nodes.ask(NODE, b"", "localhost"))
        await asyncio.sleep(0.01)
        meanwhile()
        return await reply

    return asyncio.run(run())


def test_a_node_that_does_not_answer_in_time_is_silent() -> None:
    assert asked(lambda: asyncio.sleep(30)).silent


def test_what_this_process_is_busy_with_is_not_taken_for_a_nodes_silence() -> None:
    async def in_three_parts() -> None:
        for _ in range(3):
            await asyncio.sleep(0.02)

    assert not asked(in_three_parts, lambda: time.sleep(3 * PATIENCE)).silent


def test_a_slow_node_gets_its_whole_time_again_once_it_has_shown_that_it_lives() -> None:
    taking = {"a list": 3 * SUSPECT_PATIENCE}

    async def answered(node: Node, body: bytes, host: str, wanted: frozenset[bytes]) -> Reply:
        await asyncio.sleep(0 if body == SIGN_OF_LIFE else taking["a list"])
        return Reply(node, http_status=200)

    async def run() -> list[bool]:
        nodes = Nodes(None, Fleet(), Reach(4 * SUSPECT_PATIENCE))  # type: ignore[arg-type]
        nodes._exchange = answered  # type: ignore[method-assign]
        silent = []
        for seconds in (30, 3 * SUSPECT_PATIENCE, 3 * SUSPECT_PATIENCE):
            taking["a list"] = seconds
            silent.append((await nodes.ask(NODE, b"list", "localhost")).silent)
            await asyncio.sleep(0.05)
        return silent

    assert asyncio.run(run()) == [True, False, False]


def test_who_has_left_is_known_for_as_long_as_a_server_remembers(tmp_path: Path) -> None:
    with Store(tmp_path / "db", create=True) as store:
        states = {1: NodeState.READY, 2: NodeState.LEAVING, 3: NodeState.RETIRED, 4: NodeState.RETIRED}
        with store.transaction():
            for slot, state in states.items():
                since = 1.0 if slot == 4 else time.time()
                store.put_node(Node(f"node-{slot}", slot, "process", "127.0.0.1", slot, state, since=since))
        directory = Directory(State(tmp_path), store)
        assert [node.slot for node in directory.nodes()] == [1]
        assert [node.slot for node in directory.departed()] == [2, 3]


def test_a_connection_that_fails_is_silence() -> None:
    async def failing() -> None:
        raise OSError("refused")

    assert asked(failing).silent


def test_where_all_were_late_a_patient_question_has_its_whole_time() -> None:
    async def answered(node: Node, body: bytes, host: str, wanted: frozenset[bytes]) -> Reply:
        await asyncio.sleep(2 * SUSPECT_PATIENCE)
        return Reply(node, http_status=200)

    async def run(patiently: bool, all_late: bool) -> bool:
        other = Node("node-2", 2, "process", "127.0.0.1", 2)
        nodes = Nodes(None, Fleet(), Reach(6 * SUSPECT_PATIENCE))  # type: ignore[arg-type]
        nodes._exchange = answered  # type: ignore[method-assign]
        for late in (NODE, other) if all_late else (NODE,):
            nodes._suspects[late.name] = asyncio.create_task(asyncio.sleep(30))
        asked = {NODE: b"list", other: b"list"}
        return (await nodes.ask_each(asked, "localhost", frozenset(), patiently))[0].silent

    assert not asyncio.run(run(patiently=True, all_late=True))
    assert asyncio.run(run(patiently=False, all_late=True))
    assert asyncio.run(run(patiently=True, all_late=False))


def test_whoever_answers_first_is_heard_and_one_that_was_late_gets_its_whole_time() -> None:
    late = Node("node-2", 2, "process", "127.0.0.1", 2)

    async def answered(node: Node, body: bytes, host: str, wanted: frozenset[bytes]) -> Reply:
        await asyncio.sleep(2 * SUSPECT_PATIENCE if node == late and body == b"again" else 30)
        return Reply(node, http_status=200)

    async def run() -> tuple[bool, Reply | None, Reply | None]:
        nodes = Nodes(None, Fleet(), Reach(6 * SUSPECT_PATIENCE))  # type: ignore[arg-type]
        nodes._exchange = answered  # type: ignore[method-assign]
        nodes._suspects[late.name] = asyncio.create_task(asyncio.sleep(30))
        silent = (await nodes.ask(late, b"list", "localhost")).silent
        both = await nodes.ask_any([NODE, late], b"again", "localhost")
        return silent, both, await nodes.ask_any([NODE], b"list", "localhost")

    silent, both, none = asyncio.run(run())
    assert silent
    assert both is not None
    assert both.node == late
    assert none is None
