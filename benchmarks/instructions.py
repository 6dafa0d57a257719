"""Instructions in user space that HAProxy needs for a request, in the stock one of benchmarks/door.py and in our door.

    python -m benchmarks.instructions [--requests 500]

Needs valgrind. One thread, one cupsd, one connection kept alive; what is done before is not counted. The kernel's part
is missing, but nothing depends on what else the machine does, so a difference of a hundredth can be believed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.door import PLACE, REQUESTS, SERVER, STOCK, Request
from haproxy.model import Edge
from haproxy.render import CONFIG, render_files
from tests.process.edge import ippwire
from tests.process.edge.door import Client, make_edge
from tests.process.edge.nodes import Node, listens, until
from tests.process.fleet import free_port

WARMING = 20
"""Requests before those that are counted: by then all is remembered that ever will be."""


def stock(edge: Edge, node: Node) -> dict[str, str]:
    server = SERVER.format(number=1, address=f"127.0.0.1:{node.port}")
    config = STOCK.format(port=edge.port, certificate=edge.certificate, servers=server)
    return {CONFIG: config.replace("global\n", f"global\n  nbthread {edge.threads}\n", 1)}


@contextmanager
def counted(folder: Path, files: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An HAProxy under valgrind, which counts into `folder`."""
    for name, text in files.items():
        (folder / name).write_text(text)
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/count"]
    with (folder / "output").open("wb") as output:
        command = [*tool, "haproxy", "-db", "-C", str(folder), "-f", CONFIG]
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        until("HAProxy listens", lambda: listens(port), 120)
        yield process
    finally:
        process.terminate()
        process.wait()


def ask(client: Client, request: Request, number: int) -> bool:
    """Whether a node did what was asked."""
    with suppress(OSError):  # until the first check has passed
        answer = client.send(request.body.replace(PLACE, b"own      %08d" % number))
        return answer.status == 200 and ippwire.status(answer.body) == 0
    return False


def measure(folder: Path, files: dict[str, str], client: Client, request: Request, requests: int) -> float:
    """Instructions for each request."""

    def many(count: int, first: int) -> None:
        for number in range(first, first + count):
            if not ask(client, request, number):
                raise SystemExit(f"{request.name} was refused")

    with counted(folder, files, client.port) as process:
        until("a node answers", lambda: ask(client, request, 0), 120)
        many(WARMING, 1)
        control("--zero", process.pid)
        many(requests, WARMING + 1)
        control("--dump", process.pid)
    dump = min(folder.glob("count.*")).read_text()
    total = re.search(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE)
    if total is None:
        raise SystemExit("callgrind counted nothing")
    return int(total[1]) / requests


def control(order: str, pid: int) -> None:
    subprocess.run(["callgrind_control", order, str(pid)], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        node = Node(folder, 1, history=3 * (options.requests + WARMING)).start()  # else no more jobs are taken
        try:
            print(f"{'thousand instructions a request':34}{'stock':>8}{'ours':>8}")
            for request in REQUESTS:
                print(f"{request.name:34}", end="", flush=True)
                for ours in (False, True):
                    edge = replace(make_edge(folder, [node]), port=free_port(), stats_port=free_port(), threads=1)
                    files = render_files(edge) if ours else stock(edge, node)
                    place = Path(tempfile.mkdtemp(dir=folder))
                    client = Client(edge.port, "demo" if ours else None)
                    found = measure(place, files, client, request, options.requests)
                    print(f"{found / 1000:8.0f}", end="\n" if ours else "", flush=True)
        finally:
            node.kill()


if __name__ == "__main__":
    main()
