"""Streamlit's protocol without a browser: for requests that no page would send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.process.edge.door import basic, context
from tests.process.fleet import Fleet


@dataclass
class Wire:
    """A session of the dashboard."""

    connection: ClientConnection
    page: str = ""
    """Hash of the page that was run last."""

    def run(self, name: str = "", page: str = "", clicked: str = "") -> list[Delta]:
        """Run a page, by its name or its hash, with this button (an id) clicked; what it shows then."""
        message = BackMsg()
        message.rerun_script.page_name, message.rerun_script.page_script_hash = name, page
        if clicked:
            message.rerun_script.widget_states.widgets.add(id=clicked, trigger_value=True)
        self.connection.send(message.SerializeToString())
        return list(self._shown())

    def _shown(self) -> Iterator[Delta]:
        while True:
            message = ForwardMsg.FromString(bytes(self.connection.recv(timeout=30)))  # type: ignore[arg-type]
            kind = message.WhichOneof("type")
            if kind == "navigation":
                self.page = message.navigation.page_script_hash
            elif kind == "delta":
                yield message.delta
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return


@contextmanager
def wire(fleet: Fleet, user: str, headers: Mapping[str, str] | None = None) -> Iterator[Wire]:
    """A session of somebody who logs in and says these things besides."""
    with connect(
        f"wss://localhost:{fleet.port}/fleet/_stcore/stream",
        ssl=context(),
        origin=Origin(f"https://localhost:{fleet.port}"),
        subprotocols=[Subprotocol("streamlit")],
        additional_headers={"Authorization": basic(user, fleet.password(user)), **(headers or {})},
        max_size=None,
    ) as connection:
        yield Wire(connection)


def button(shown: list[Delta], key: str) -> str:
    """The id of a button."""
    ids = (one.new_element.button.id for one in shown if one.new_element.HasField("button"))
    return next(found for found in ids if found.endswith(f"-{key}"))


def titles(shown: list[Delta]) -> list[str]:
    """First-level headings."""
    found = (one.new_element.heading for one in shown if one.new_element.HasField("heading"))
    return [heading.body for heading in found if heading.tag == "h1"]
