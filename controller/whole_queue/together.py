"""The same question of the same person is asked once, however many ask it at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Together(Generic[T]):
    """At most one round of asking per question runs, and at most one waits for its end.

    Whoever comes while a round runs gets the answer of the next one: an answer is never older than its question, so
    that a client which just printed finds its job.
    """

    _running: dict[Hashable, asyncio.Task[T]] = field(default_factory=dict)
    _waiting: dict[Hashable, asyncio.Task[T]] = field(default_factory=dict)

    async def ask(self, question: Hashable, round_of: Callable[[], Awaitable[T]]) -> T:
        """The answer of a round that begins after this call."""
        if question not in self._running:
            return await self._join(self._begin(question, round_of()))
        if question not in self._waiting:
            self._waiting[question] = asyncio.create_task(self._after(question, round_of))
        return await self._join(self._waiting[question])

    def _begin(self, question: Hashable, asking: Awaitable[T]) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.ensure_future(self._round(question, asking))
        self._running[question] = task
        return task

    async def _round(self, question: Hashable, asking: Awaitable[T]) -> T:
        try:
            return await asking
        finally:
            if question not in self._waiting:
                self._running.pop(question)

    async def _after(self, question: Hashable, round_of: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait([self._running[question]])
        task = self._waiting.pop(question)
        self._running[question] = task
        return await self._round(question, round_of())

    @staticmethod
    async def _join(task: asyncio.Task[T]) -> T:
        """One client that goes away does not end the round for the others."""
        return await asyncio.shield(task)
