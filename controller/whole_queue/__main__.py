"""`python -m controller.whole_queue --state DIR --port N`: runs until SIGTERM, whatever becomes of the controller."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
from aiohttp import web

from controller.jobs.moves import MoveTable
from controller.jobs.table import JobTable
from controller.state import State
from controller.store import Store, StoreError
from controller.whole_queue.application import application
from controller.whole_queue.nodes import Directory, Nodes, Reach
from controller.whole_queue.service import WholeQueue
from controller.whole_queue.unseen import Known

COLLECTIONS = (200_000, 20, 20)
"""For gc.set_threshold. Python's collector looks for cycles at each 700 new objects by default; an answer of 10,000
jobs makes ten times as many, none of which is a cycle, and takes a third longer for it."""
ROUNDS = 2
"""In which nodes are asked at most for one answer, or in one and after somebody else's (`whole_timeout` in
controller/door.py is a second more)."""
GRACE = 0.5
"""Seconds for all else that an answer takes."""
LOOK = 1.0
"""Seconds between two looks whether the database was replaced."""


async def serve(state: State, port: int, reach: Reach) -> None:
    """Listen on loopback until SIGTERM or SIGINT, or until another database lies there: whoever keeps this running
    starts it again, with that one."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with Store(state.database) as store:
        timeout = aiohttp.ClientTimeout(total=None)  # each question has its own deadline
        async with aiohttp.ClientSession(connector=reach.connector(), timeout=timeout) as http:
            directory = Directory(state, store)
            known = Known(JobTable(store), directory, state.nodes)
            whole = WholeQueue(Nodes(http, directory, reach), known, MoveTable(store))
            runner = web.AppRunner(
                application(whole, state.secret(), ROUNDS * reach.deadline + GRACE),
                access_log=None,
                handle_signals=False,
            )
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
                while not stop.is_set() and _is_ours(store):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), LOOK)
            finally:
                await runner.cleanup()


def _is_ours(store: Store) -> bool:
    try:
        store.stands()
    except StoreError as error:
        logging.warning("%s", error)
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--deadline", type=float, default=2.0, help="seconds that a node has for one answer")
    parser.add_argument("--source", help="local address to reach nodes from")
    parser.add_argument("--ca-file", type=Path, help="what the certificates of existing servers must lead to")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    # a client that breaks off, or sends what is no HTTP, would fill the log with a traceback each time
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    gc.set_threshold(*COLLECTIONS)
    reach = Reach(given.deadline, given.source, given.ca_file)
    asyncio.run(serve(State(given.state), given.port, reach))


if __name__ == "__main__":
    main()
