"""The HTTP server that HAProxy sends whole-queue operations to.

A request that comes without the fleet's secret is refused: only the edge knows it, and only the edge says who asks
(`X-Fleet-User`).
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from controller.store import StoreError
from controller.whole_queue import request
from controller.whole_queue.answer import Unanswerable
from controller.whole_queue.service import WholeQueue
from controller.whole_queue.silence import sentence
from probes import wire

log = logging.getLogger("cupsfleet.whole_queue")

LARGEST = 2 * 2**20
"""Bytes of a request; none of the operations here carries a document."""


def application(whole: WholeQueue, secret: str, patience: float) -> web.Application:
    """POST of an IPP request to any path; GET /alive for HAProxy's check.

    patience: seconds after which a question has waited too long for its answer. While one has, the check is told so:
    then HAProxy sends others to a node, and this one too when it asks again.
    """
    under_way: dict[object, float] = {}

    @contextmanager
    def waiting() -> Iterator[None]:
        question = object()
        under_way[question] = time.monotonic()
        try:
            yield
        finally:
            del under_way[question]

    async def ipp(incoming: web.Request) -> web.Response:
        if not hmac.compare_digest(incoming.headers.get("X-Fleet-Secret", ""), secret):
            return web.Response(status=403, text="Only the front door may ask here.\n")
        try:
            asked = request.read(await incoming.read(), incoming.headers.get("X-Fleet-User", ""))
            with waiting():  # from here on: a client that is slow to ask says nothing of this service
                answer = await whole.answer(asked, incoming.headers.get("Host", "localhost"))
        except wire.Malformed as error:
            return web.Response(status=400, text=f"{error}\n")
        except (Unanswerable, StoreError) as error:
            log.warning("%s", error)
            said = str(error) if isinstance(error, Unanswerable) else "the fleet's memory can't be read"
            return web.Response(status=503, text=f"{sentence(said)}\n", headers={"Retry-After": "5"})
        if answer.status != 200:
            return web.Response(status=answer.status)
        body = wire.renumbered(answer.body, asked.message.request_id)
        # the edge knows a queue by its path, so that the two have to agree
        told = {"X-Fleet-Alike": "yes"} if answer.alike and incoming.path == asked.target else {}
        return web.Response(body=body, content_type="application/ipp", headers=told)

    async def alive(_: web.Request) -> web.Response:
        if time.monotonic() - next(iter(under_way.values()), float("inf")) > patience:
            return web.Response(status=503, text="a question waits for its answer\n")
        try:
            whole.moves.now(0)
        except StoreError as error:  # without it no list is right, and a node's own answer is better than none
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(text="alive\n")

    made = web.Application(client_max_size=LARGEST)
    made.add_routes([web.get("/alive", alive), web.post("/{path:.*}", ipp)])
    return made
