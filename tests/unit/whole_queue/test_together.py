"""Who is asked how often, and how old an answer may be."""

from __future__ import annotations

import asyncio

import pytest

from controller.whole_queue.together import Together


class Asking:
    """A slow question that counts how often it is asked."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = 0

    async def __call__(self) -> int:
        self.begun += 1
        mine = self.begun
        await self.gate.wait()
        return mine


def test_many_askers_cost_two_rounds_and_no_answer_is_older_than_its_question() -> None:
    async def scene() -> list[int]:
        together, asking = Together[int](), Asking()
        first = asyncio.create_task(together.ask("q", asking))
        await asyncio.sleep(0)
        later = [asyncio.create_task(together.ask("q", asking)) for _ in range(50)]
        await asyncio.sleep(0)
        asking.gate.set()
        answers = [await first, *[await one for one in later]]
        assert await together.ask("q", asking) == 3
        assert (together._running, together._waiting) == ({}, {})
        return answers

    assert asyncio.run(scene()) == [1] + [2] * 50


def test_other_questions_wait_for_nobody() -> None:
    async def scene() -> int:
        together, slow, quick = Together[int](), Asking(), Asking()
        waiting = asyncio.create_task(together.ask(("demo", "q"), slow))
        await asyncio.sleep(0)
        quick.gate.set()
        answer = await together.ask(("alice", "q"), quick)
        slow.gate.set()
        await waiting
        return answer

    assert asyncio.run(scene()) == 1


def test_a_failure_is_told_to_all_who_wait_and_forgotten() -> None:
    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def scene() -> None:
        together = Together[int]()
        asked = [asyncio.create_task(together.ask("q", fail)) for _ in range(3)]
        for one in asked:
            with pytest.raises(ValueError, match="no"):
                await one
        assert (together._running, together._waiting) == ({}, {})

    asyncio.run(scene())


def test_who_goes_away_ends_it_for_nobody_else() -> None:
    async def scene() -> int:
        together, asking = Together[int](), Asking()
        gone = asyncio.create_task(together.ask("q", asking))
        await asyncio.sleep(0)
        stays = asyncio.create_task(together.ask("q", asking))
        await asyncio.sleep(0)
        gone.cancel()
        asking.gate.set()
        return await stays

    assert asyncio.run(scene()) == 2
