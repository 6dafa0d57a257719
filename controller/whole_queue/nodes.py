"""The nodes of the fleet as this service sees them, and asking them: all at once, each with a deadline."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from controller.nodes.driver import NodeSpec
from controller.nodes.existing import ExistingDriver
from controller.nodes.process import ProcessDriver
from controller.nodes.settings import HISTORY_SECONDS, is_loopback
from controller.snapshot import Node, NodeState
from controller.state import State
from controller.store import Store, StoreError
from controller.whole_queue.request import CUPS_GET_DEFAULT, CUPS_GET_PRINTERS, GET_PRINTER_ATTRIBUTES
from haproxy.render import HEALTH_REQUEST
from probes import wire
from probes.wire import Message

log = logging.getLogger("cupsfleet.whole_queue")

FRESH = 0.3
"""Seconds for which the list of nodes is believed."""
CONNECTIONS = 16
"""To one node at a time: cupsd answers one after another, and more of them would only be more handshakes."""
LARGEST_ANSWER = 64 * 2**20
"""Bytes. 10,000 jobs with all that CUPS knows of them are 20 MB."""
SUSPECT_PATIENCE = 0.25
"""Seconds that a node gets which missed its last deadline: one that hangs must not slow every answer down."""
SIGN_OF_LIFE = bytes.fromhex(HEALTH_REQUEST)
"""What such a node is asked until it answers, which one that works does soon also when its lists take long."""
LOOKS = 8
"""Whether an answer is there, within the time that a node has for it."""
_NAME_URIS = {code.to_bytes(2, "big") for code in (GET_PRINTER_ATTRIBUTES, CUPS_GET_DEFAULT, CUPS_GET_PRINTERS)}
_LIST = """select name, slot, driver, host, port, state from nodes
where state != 'ordered' and (state != 'retired' or since > ?) order by slot"""
_GONE = (NodeState.LEAVING, NodeState.RETIRED)


@dataclass(frozen=True)
class Reply:
    """What a node came to. answer: None when there was none in IPP."""

    node: Node
    answer: Message | None = None
    body: bytes = b""
    http_status: int = 0
    """Of an answer that is not 200: 401 is a policy's no."""

    @property
    def silent(self) -> bool:
        return self.answer is None and not self.http_status


@dataclass
class Directory:
    """The list of nodes, by short reads of the database. When that can't be read, the last list holds."""

    state: State
    store: Store
    _known: tuple[Node, ...] = ()
    _read_at: float = float("-inf")

    def nodes(self) -> tuple[Node, ...]:
        """Those that have a server, or had one and will have it again."""
        return tuple(node for node in self._read() if node.state not in _GONE)

    def departed(self) -> tuple[Node, ...]:
        """Those that have left lately enough that a server would still tell of what ended there."""
        return tuple(node for node in self._read() if node.state in _GONE)

    def _read(self) -> tuple[Node, ...]:
        now = time.monotonic()
        if now - self._read_at > FRESH:
            self._read_at = now
            try:
                # named columns, so that a database that a newer controller has extended can still be read
                rows = self.store.rows(_LIST, [time.time() - HISTORY_SECONDS])
                self._known = tuple(Node(**{**row, "state": NodeState(row["state"])}) for row in rows)
            except (StoreError, ValueError) as error:  # ValueError: a state that only a newer controller knows
                log.warning("the last list of nodes stays in force: %s", error)
        return self._known

    def operator(self, node: Node) -> str:
        """The name under which the controller handles every job of the node."""
        spec = NodeSpec(node.name, node.slot, 0, node.host, node.port, self.state.nodes / node.name)
        driver = ExistingDriver() if node.driver == "existing" else ProcessDriver()
        return driver.token(spec).user

    def in_slot(self, slot: int) -> Node | None:
        return next((node for node in self.nodes() if node.slot == slot), None)


@dataclass(frozen=True)
class Reach:
    """How nodes are reached: so that they answer as they would to the proxies.

    deadline: seconds for one question to one node. source: local address, for nodes that take no public name from
    loopback. ca_file: certificates that those of `existing` nodes must lead to.
    """

    deadline: float = 2.0
    source: str | None = None
    ca_file: Path | None = None

    def connector(self) -> aiohttp.TCPConnector:
        local = (self.source, 0) if self.source else None
        return aiohttp.TCPConnector(
            limit=0, limit_per_host=CONNECTIONS, local_addr=local, ttl_dns_cache=60, keepalive_timeout=20
        )

    @staticmethod
    def url(node: Node, *, uris: bool) -> str:
        """uris: whether the answer names URIs of the kind that it is asked over. CUPS does so for printers only, and on
        this machine TLS costs both sides more than a question about jobs."""
        return f"{'https' if uris or not is_loopback(node.host) else 'http'}://{node.address}/"

    def tls(self, node: Node) -> ssl.SSLContext | bool:
        """What aiohttp's `ssl` takes; False accepts any certificate."""
        return self._verifying if self._verifying and node.driver == "existing" else False

    def __post_init__(self) -> None:
        context = ssl.create_default_context(cafile=str(self.ca_file)) if self.ca_file else None
        if context:
            context.check_hostname = False  # the proxies do not check it either: nodes are addresses
        object.__setattr__(self, "_verifying", context)

    _verifying: ssl.SSLContext | None = field(init=False, repr=False, compare=False)


@dataclass
class Nodes:
    """Asks nodes. Remembers which of them are slow, so that waiting for them costs each client little."""

    http: aiohttp.ClientSession
    directory: Directory
    reach: Reach
    _suspects: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """Those that missed their last deadline, and who waits for a sign of life from them."""
    _turns: defaultdict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(CONNECTIONS))
    )

    async def ask_each(
        self, bodies: Mapping[Node, bytes], host: str, wanted: frozenset[bytes], patiently: bool = False
    ) -> list[Reply]:
        """patiently: where all of them missed their last deadline each gets its whole time all the same."""
        patience = self.reach.deadline if patiently and all(node.name in self._suspects for node in bodies) else 0.0
        asking = (self.ask(node, body, host, wanted, patience) for node, body in bodies.items())
        return list(await asyncio.gather(*asking))

    async def ask_any(
        self, nodes: Iterable[Node], body: bytes, host: str, wanted: frozenset[bytes] = frozenset()
    ) -> Reply | None:
        """The first reply of any of them, which all have the whole time for it; None when all are silent."""
        asking = [asyncio.create_task(self.ask(node, body, host, wanted, self.reach.deadline)) for node in nodes]
        try:
            for coming in asyncio.as_completed(asking):
                reply = await coming
                if not reply.silent:
                    return reply
        finally:
            for task in asking:
                task.cancel()
        return None

    async def ask(
        self, node: Node, body: bytes, host: str, wanted: frozenset[bytes] = frozenset(), patience: float = 0.0
    ) -> Reply:
        """One question to one node. Raises nothing: silence is a reply too. patience: seconds; 0 for as many as it has
        earned."""
        patience = patience or (SUSPECT_PATIENCE if node.name in self._suspects else self.reach.deadline)
        asked = False

        async def in_turn() -> Reply:
            nonlocal asked
            async with self._turns[node.name]:
                asked = True
                return await self._exchange(node, body, host, wanted)

        try:
            reply = await _within(patience, in_turn())
        except TimeoutError:
            if asked and node.name not in self._suspects:  # that others were before us says nothing of the node
                self._suspects[node.name] = asyncio.create_task(self._await_life(node))
            return Reply(node)
        except (aiohttp.ClientError, OSError, wire.Malformed) as error:
            log.info("%s does not answer: %s", node.name, error)
            return Reply(node)
        if waiting := self._suspects.pop(node.name, None):
            waiting.cancel()
        return reply

    async def _await_life(self, node: Node) -> None:
        """A node that has the whole machine's load to bear would else miss short deadlines for ever."""
        while any(one.name == node.name for one in self.directory.nodes()):
            with suppress(TimeoutError, aiohttp.ClientError, OSError, wire.Malformed):
                await _within(self.reach.deadline, self._exchange(node, SIGN_OF_LIFE, "localhost", frozenset()))
                break
            await asyncio.sleep(SUSPECT_PATIENCE)
        self._suspects.pop(node.name, None)

    async def _exchange(self, node: Node, body: bytes, host: str, wanted: frozenset[bytes]) -> Reply:
        headers = {"Content-Type": "application/ipp", "Host": host}
        url = self.reach.url(node, uris=body[2:4] in _NAME_URIS)
        asking = self.http.post(url, data=body, headers=headers, ssl=self.reach.tls(node), allow_redirects=False)
        async with asking as response:
            said = await _all_of(response.content)
            if response.status != 200:
                return Reply(node, http_status=response.status)
            answer = wire.split(said, wanted)
            if not answer.groups or answer.groups[0].tag != wire.OPERATION:
                raise wire.Malformed("it does not begin with the operation group")
            return Reply(node, answer, said)


async def _within(seconds: float, asking: Coroutine[None, None, Reply]) -> Reply:
    """What comes in time. Raises TimeoutError.

    The time is over after so many looks, not by the clock alone: while this process is busy with other people's answers
    a node's own may lie here unread, and would be taken for its silence.
    """
    task = asyncio.create_task(asking)
    try:
        for _ in range(LOOKS):
            done, _ = await asyncio.wait([task], timeout=seconds / LOOKS)
            if done:
                return task.result()
        raise TimeoutError
    finally:
        task.cancel()


async def _all_of(content: aiohttp.StreamReader) -> bytes:
    """Raises wire.Malformed for what no sound server sends."""
    said = bytearray()
    async for some in content.iter_any():
        said += some
        if len(said) > LARGEST_ANSWER:
            raise wire.Malformed(f"it has more than {LARGEST_ANSWER} bytes")
    return bytes(said)


def answers(replies: Iterable[Reply]) -> list[Message]:
    return [reply.answer for reply in replies if reply.answer is not None]


def silent(replies: Iterable[Reply]) -> list[Node]:
    """The nodes that did not answer."""
    return [reply.node for reply in replies if reply.silent]
