"""Many nodes at once, some of which are not well."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from probes import sweep as module
from probes.canary import NAME, canary
from probes.reading import Reading
from probes.sweep import Target, sweep
from tests.process.fleet import free_port
from tests.process.nodes.conftest import Node


def silent() -> socket.socket:
    """Accepts connections (the kernel does) and never says a word, as a stopped cupsd."""
    return socket.create_server(("127.0.0.1", 0), backlog=100)


def test_each_hanging_node_costs_its_own_deadline_only(office: Node) -> None:
    with silent() as hanging:
        port = hanging.getsockname()[1]
        targets = [Target(f"h{place}", "127.0.0.1", port) for place in range(50)]
        targets += [Target("well", office.spec.host, office.spec.port), Target("away", "127.0.0.1", free_port())]
        begun = time.monotonic()
        readings = asyncio.run(sweep(targets, 2.0))
        assert time.monotonic() - begun < 10
    assert readings["well"].error is None
    assert readings["well"].latency is not None
    assert readings["well"].latency < 2.0
    assert "Connect" in str(readings["away"].error)
    assert {readings[f"h{place}"].error for place in range(50)} == {"no answer within 2 s"}


def test_silence_of_the_prober_itself_is_no_silence_of_the_node(office: Node) -> None:
    async def with_a_pause() -> Reading:
        asyncio.get_running_loop().call_later(0.0, time.sleep, 1.0 + module.HELD_UP + 0.5)
        target = Target("n", office.spec.host, office.spec.port)
        return (await sweep([target], 1.0))["n"]

    assert asyncio.run(with_a_pause()).error is None


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhtml", b""]
)
def test_a_stranger_behind_the_port_is_an_error_in_words(said: bytes) -> None:
    async def answered() -> Reading:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(said)
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            target = Target("n", "127.0.0.1", server.sockets[0].getsockname()[1])
            return (await sweep([target], 5.0))["n"]

    reading = asyncio.run(answered())
    error = reading.error
    assert error
    assert reading.refused is bool(said)
    assert "127.0.0.1" in error or "not IPP" in error


class TestOverTls:
    def test_what_answers_both_ways_is_well(self, office: Node) -> None:
        assert look(office).tls_error == ""

    def test_a_node_that_is_broken_over_tls_alone_still_answers(self, office: Node) -> None:
        look(office)  # cupsd makes its certificate at the first connection
        for file in (office.spec.folder / "etc/ssl").iterdir():
            file.write_bytes(b"broken")
        reading = look(office)
        assert reading.error is None
        assert "over TLS" in str(reading.tls_error)

    def test_it_is_asked_only_when_that_is_wanted(self, office: Node) -> None:
        assert office.reading().tls_error is None


def look(node: Node) -> Reading:
    target = Target("n", node.spec.host, node.spec.port, also_tls=True)
    return asyncio.run(sweep([target], 5.0))["n"]


def test_an_error_is_an_answer_and_silence_is_none(office: Node) -> None:
    with silent() as hanging:
        targets = [Target("silent", "127.0.0.1", hanging.getsockname()[1]), Target("away", "127.0.0.1", free_port())]
        readings = asyncio.run(sweep(targets, 0.5))
    assert not any(reading.refused for reading in readings.values())


class TestCanary:
    def test_it_answers(self) -> None:
        async def asked() -> Reading:
            async with canary() as target:
                return (await sweep([target], 3.0))[NAME]

        reading = asyncio.run(asked())
        assert (reading.error, reading.queues, reading.jobs) == (None, (), ())

    def test_it_does_not_while_its_loop_is_held_up(self) -> None:
        async def asked() -> Reading:
            async with canary() as target:
                asyncio.get_running_loop().call_later(0.0, time.sleep, 0.3)
                return (await sweep([target], 3.0))[NAME]

        assert (asyncio.run(asked()).latency or 0.0) >= 0.2
