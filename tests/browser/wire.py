"""Streamlit's protocol without a browser: for requests that no page would send.

One thread reads and writes: OpenSSL loses what two say at once over one connection, as the blocking client of
websockets lets them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from anyio.from_thread import BlockingPortal, start_blocking_portal
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.process.edge.door import basic, context
from tests.process.fleet import Fleet


@dataclass
class Wire:
    """A session of the dashboard."""

    thread: BlockingPortal
    connection: ClientConnection
    page: str = ""
    """Hash of the page that was run last."""

    def run(self, name: str = "", page: str = "", clicked: str = "") -> list[Delta]:
        """Run a page, by its name or its hash, with this button (an id) clicked; what it shows then."""
        message = BackMsg()
        message.rerun_script.page_name, message.rerun_script.page_script_hash = name, page
        if clicked:
            message.rerun_script.widget_states.widgets.add(id=clicked, trigger_value=True)
        self.send(message)
        return list(self._shown())

    def send(self, message: BackMsg) -> None:
        self.thread.call(self.connection.send, message.SerializeToString())

    def receive(self) -> ForwardMsg:
        """What comes next. Raises TimeoutError after a minute without."""
        message = ForwardMsg()
        message.ParseFromString(self.thread.call(self._received))
        return message

    def _shown(self) -> Iterator[Delta]:
        while True:
            message = self.receive()
            kind = message.WhichOneof("type")
            if kind == "navigation":
                self.page = message.navigation.page_script_hash
            elif kind == "delta":
                yield message.delta
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return

    async def _received(self) -> bytes:
        async with asyncio.timeout(60):
            return await self.connection.recv(decode=False)


def wire(fleet: Fleet, user: str, headers: Mapping[str, str] | None = None) -> AbstractContextManager[Wire]:
    """A session of somebody who logs in and says these things besides."""
    return session(fleet.port, user, fleet.password(user), headers)


@contextmanager
def session(port: int, user: str, password: str, headers: Mapping[str, str] | None = None) -> Iterator[Wire]:
    """The same behind any front door on this machine."""
    connecting = connect(
        f"wss://localhost:{port}/fleet/_stcore/stream",
        ssl=context(),
        origin=Origin(f"https://localhost:{port}"),
        subprotocols=[Subprotocol("streamlit")],
        additional_headers={"Authorization": basic(user, password), **(headers or {})},
        max_size=None,
    )
    with start_blocking_portal() as thread, thread.wrap_async_context_manager(connecting) as connection:
        yield Wire(thread, connection)


def button(shown: list[Delta], key: str) -> str:
    """The id of a button."""
    ids = (one.new_element.button.id for one in shown if one.new_element.HasField("button"))
    return next(found for found in ids if found.endswith(f"-{key}"))


def titles(shown: list[Delta]) -> list[str]:
    """First-level headings."""
    found = (one.new_element.heading for one in shown if one.new_element.HasField("heading"))
    return [heading.body for heading in found if heading.tag == "h1"]
