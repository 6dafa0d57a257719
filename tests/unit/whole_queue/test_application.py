"""What HAProxy's check is told while a question waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp.test_utils import TestClient, TestServer

from controller.whole_queue import merge
from controller.whole_queue.answer import Answer
from controller.whole_queue.application import application
from controller.whole_queue.request import Request
from tests.process.edge import ippwire
from tests.unit.whole_queue.test_cancel import Moves

SECRET = {"X-Fleet-Secret": "secret", "X-Fleet-User": "demo"}


class Slow:
    """Answers when it is told to."""

    moves = Moves()

    def __init__(self) -> None:
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def answer(self, asked: Request, host: str) -> Answer:
        self.asked.set()
        await self.gate.wait()
        return Answer(merge.answer(asked.message.version, merge.OK))


def statuses(patience: float) -> list[int]:
    """Of the check before, during and after a question; and of its answer."""

    async def scene() -> list[int]:
        slow = Slow()
        made = application(slow, "secret", patience)  # type: ignore[arg-type]
        async with TestClient(TestServer(made)) as client:
            found = [(await client.get("/alive")).status]
            question = asyncio.create_task(client.post("/", data=ippwire.jobs_request(), headers=SECRET))
            await slow.asked.wait()
            found.append((await client.get("/alive")).status)
            slow.gate.set()
            answer = await question
            return [*found, (await client.get("/alive")).status, answer.status]

    return asyncio.run(scene())


def test_a_client_that_is_slow_to_ask_does_no_harm() -> None:
    async def scene() -> int:
        body = ippwire.jobs_request()
        begun = asyncio.Event()

        async def dribbled() -> AsyncIterator[bytes]:
            yield body[:8]
            begun.set()
            await asyncio.sleep(30)

        async with TestClient(TestServer(application(Slow(), "secret", 0.0))) as client:  # type: ignore[arg-type]
            question = asyncio.create_task(client.post("/", data=dribbled(), headers=SECRET))
            await begun.wait()
            await asyncio.sleep(0.2)
            found = (await client.get("/alive")).status
            question.cancel()
            return found

    assert asyncio.run(scene()) == 200


def test_a_service_whose_question_waits_too_long_is_not_well_until_it_is_answered() -> None:
    assert statuses(patience=0.0) == [200, 503, 200, 200]
    assert statuses(patience=60.0) == [200, 200, 200, 200]
