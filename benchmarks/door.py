"""Requests per second and p99 latency: one cupsd directly, stock HAProxy round robin, and our front door.

    python -m benchmarks.door [--seconds 4] [--rounds 3]

Needs wrk. All serve the same fleet in one run, in turn, so that the ratios hold when the machine's speed drifts; each
is warmed up by a run in which every answer's IPP status is looked at, and refusals there count as errors.

Stock HAProxy is what an administrator would write: TLS in front, round robin, TLS to the nodes (without which cupsd
hands out ipp:// URIs that clients can't use); no authentication, no routing by job, no log. Directly means one cupsd,
over TLS. Small jobs are held, so that printing them is not measured, and purged after each run, so that no node comes
near the number of jobs that it remembers. The door remembers what short requests say that come again byte for byte, as
those of polling clients do; *each different* has rows of its own. Questions about the whole queue are measured in
benchmarks/whole_queue.py.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks.fleet import running_fleet
from controller.users import Users
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import Fleet, eventually, free_port

STOCK = """
global
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend print
  bind 127.0.0.1:{port} ssl crt {certificate}
  default_backend nodes
backend nodes
  balance roundrobin
  http-request set-header Host localhost:{port}
{servers}
"""
SERVER = "  server n{number} {address} check ssl verify none"
USERS = 100
"""Entries of the user list beside demo and admin."""


@dataclass(frozen=True)
class Request:
    name: str
    target: float
    """Wanted ratio of our requests per second to stock HAProxy's; 0 where none was set."""
    body: bytes
    seconds: int = 60
    """Longest run."""

    @property
    def distinct(self) -> bool:
        """Whether no two are the same, byte for byte: PLACE is another word in each."""
        return PLACE in self.body


@dataclass(frozen=True)
class Result:
    rate: float
    """Requests per second."""
    p99: float
    """Milliseconds."""
    errors: int


def asked(operation: int, *attributes: bytes, groups: bytes = b"") -> bytes:
    return ippwire.request(operation, ippwire.printer(), *attributes, groups=groups)


PLACE = b"another in each ."
"""For wrk: where a word of this length goes that no other request has."""
DISTINCT = """
local own, number = tostring({}):sub(-8), 0
function request()
  number = number + 1
  return wrk.format(nil, nil, nil, before .. string.format("%s %08d", own, number % 100000000) .. after)
end
"""
HELD = ippwire.JOB + attribute(0x44, "job-hold-until", "indefinite")
CHECKED = """
function response(status, headers, body)
  if status ~= 200 or body:byte(3) ~= 0 then refused = (refused or 0) + 1 end
end
function setup(thread) threads = threads or {}; table.insert(threads, thread) end
function done() local n = 0; for _, t in ipairs(threads) do n = n + (t:get("refused") or 0) end
  print("Non-2xx or 3xx responses: " .. n) end
"""
"""For wrk: look at the status inside each answer, which costs wrk time."""
NAME = attribute(0x42, "requesting-user-name", "steve_localadmin")
STATE = attribute(0x44, "requested-attributes", "printer-state")
TITLE = attribute(0x42, "job-name", PLACE)
REQUESTS = (
    Request("reads (Get-Printer-Attributes)", 0.8, asked(0x000B, NAME, STATE)),
    Request("stamped (Validate-Job)", 0.65, asked(0x0004, NAME)),
    Request("reads, each different", 0.8, asked(0x000B, NAME, STATE, TITLE)),
    Request("stamped, each different", 0.65, asked(0x0004, NAME, TITLE)),
    Request("right name (Validate-Job)", 0.65, asked(0x0004, attribute(0x42, "requesting-user-name", "demo"))),
    Request("small jobs (Print-Job, 1 KB)", 0.0, asked(0x0002, NAME, groups=HELD) + b"x" * 1024, seconds=2),
)


@contextmanager
def stock_haproxy(fleet: Fleet) -> Iterator[int]:
    port = free_port()
    servers = [SERVER.format(number=number, address=node["address"]) for number, node in enumerate(fleet.nodes())]
    config = fleet.state / "stock.cfg"
    config.write_text(STOCK.format(port=port, certificate=fleet.state / "tls" / "door.pem", servers="\n".join(servers)))
    process = subprocess.Popen(
        ["haproxy", "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"https://localhost:{port}/printers/office"
        probe = ["curl", "-sk", "-o", "/dev/null", url]
        eventually(lambda: subprocess.run(probe, check=False).returncode == 0)
        yield port
    finally:
        process.terminate()
        process.wait()


def purge(fleet: Fleet) -> None:
    """Forget every job of every node, by the administrator's way in."""
    for node in fleet.nodes():
        folder = fleet.state / "nodes" / node["name"]
        command = ["cancel", "-a", "-x", "-h", "/proc/self/cwd/run/cups.sock"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def measure(url: str, request: Request, authorization: str, seconds: int, checked: bool = False) -> Result:
    """One run of wrk: 2 threads, 32 connections kept alive."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = {lua(request.body)}\n')
        if request.distinct:
            before, _, after = request.body.partition(PLACE)
            script.write(f"local before, after = {lua(before)}, {lua(after)}\n{DISTINCT}")
        script.write('wrk.headers["Content-Type"] = "application/ipp"\n')
        if authorization:
            script.write(f'wrk.headers["Authorization"] = "Basic {authorization}"\n')
        script.write(CHECKED if checked else "")
        script.flush()
        command = ["wrk", "-t2", "-c32", f"-d{seconds}s", "--latency", "-s", script.name, url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return parse(output)


def lua(text: bytes) -> str:
    """As a string of that language."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text) + '"'


def parse(output: str) -> Result:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    if not rate or not p99:
        raise SystemExit(f"wrk said nothing that can be read:\n{output}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = [int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", output)]
    milliseconds = float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    return Result(float(rate[1]), milliseconds, (int(refused[1]) if refused else 0) + sum(broken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with running_fleet(3) as fleet, stock_haproxy(fleet) as stock:
        for number in range(USERS):
            Users(fleet.state / "users").add(f"user{number}", "password of a colleague")
        fleet.done("user", "add", "bench", stdin="pw\n")
        authorization = base64.b64encode(f"demo:{fleet.password()}".encode()).decode()
        ways = {
            "cupsd directly": (f"https://{fleet.nodes()[0]['address']}/printers/office", ""),
            "stock HAProxy": (f"https://localhost:{stock}/printers/office", ""),
            "cupsfleet": (f"https://localhost:{fleet.port}/printers/office", authorization),
        }
        print(f"{os.cpu_count()} cores, {USERS + 3} users with SHA-512 crypt, 3 nodes, 32 connections, median of "
              f"{options.rounds} rounds of {options.seconds} s")  # fmt: skip
        print(f"{'':34}{'way':16}{'requests/s':>12}{'p99 ms':>10}{'errors':>8}{'x stock':>9}{'target':>8}")
        for request in REQUESTS:
            results = measured(request, ways, fleet, options.rounds, min(options.seconds, request.seconds))
            report(request, results)


def measured(
    request: Request, ways: dict[str, tuple[str, str]], fleet: Fleet, rounds: int, seconds: int
) -> dict[str, list[Result]]:
    """By way, one result a round; errors of the warm-up are added to the first round's."""
    results: dict[str, list[Result]] = {way: [] for way in ways}
    refused = {way: measure(where[0], request, where[1], 1, checked=True).errors for way, where in ways.items()}
    purge(fleet)
    for _ in range(rounds):
        for way, (url, authorization) in ways.items():
            found = measure(url, request, authorization, seconds)
            results[way].append(replace(found, errors=found.errors + refused.pop(way, 0)))
            if request.body[2:4] == b"\x00\x02":
                purge(fleet)
    return results


def report(request: Request, results: dict[str, list[Result]]) -> None:
    stock = [result.rate for result in results["stock HAProxy"]]
    for way, found in results.items():
        rate = statistics.median(result.rate for result in found)
        p99 = statistics.median(result.p99 for result in found)
        ratio = statistics.median(ours.rate / theirs for ours, theirs in zip(found, stock, strict=True))
        target = f"{request.target:8.2f}" if way == "cupsfleet" and request.target else ""
        errors = sum(result.errors for result in found)
        print(f"{request.name:34}{way:16}{rate:12.0f}{p99:10.1f}{errors:8}{ratio:9.2f}{target}", flush=True)


if __name__ == "__main__":
    main()
