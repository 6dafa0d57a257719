"""Requests per second and p99 latency: one cupsd directly, stock HAProxy round robin, and our front door.

    python -m benchmarks.door [--seconds 4] [--rounds 3]

Needs wrk. All three serve the same fleet in one run, in turn, so that the ratios hold when the machine's speed drifts.
Stock HAProxy is what an administrator would write: TLS in front, round robin, TLS to the nodes (without which cupsd
hands out ipp:// URIs that clients can't use), no authentication, no routing by job.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import statistics
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.users import Users
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


@dataclass(frozen=True)
class Result:
    rate: float
    """Requests per second."""
    p99: float
    """Milliseconds."""
    errors: int


def attribute(tag: int, name: str, value: str | int) -> bytes:
    """One attribute (RFC 8010, section 3.1.4)."""
    raw = struct.pack(">i", value) if isinstance(value, int) else value.encode()
    return struct.pack(">BH", tag, len(name)) + name.encode() + struct.pack(">H", len(raw)) + raw


def ipp(operation: int, *attributes: bytes, data: bytes = b"") -> bytes:
    head = struct.pack(">HHIB", 0x0200, operation, 1, 1)
    common = attribute(0x47, "attributes-charset", "utf-8") + attribute(0x48, "attributes-natural-language", "en")
    uri = attribute(0x45, "printer-uri", "ipp://localhost/printers/office")
    return head + common + uri + b"".join(attributes) + b"\x03" + data


NAME = attribute(0x42, "requesting-user-name", "steve_localadmin")
REQUESTS = (
    Request(
        "reads (Get-Printer-Attributes)",
        0.8,
        ipp(0x000B, NAME, attribute(0x44, "requested-attributes", "printer-state")),
    ),
    Request("stamped (Get-Jobs, my-jobs)", 0.65, ipp(0x000A, NAME, attribute(0x22, "my-jobs", 1)[:-4] + b"\x01")),
    Request("stamped (Validate-Job)", 0.65, ipp(0x0004, NAME)),
    Request("small jobs (Print-Job, 1 KB)", 0.0, ipp(0x0002, NAME, data=b"x" * 1024)),
)


@contextmanager
def running_fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder) / "state", free_port(), {"CUPSFLEET_NODES__MIN": "3"})
        try:
            fleet.up()
            yield fleet
        finally:
            fleet.run("down")


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


def measure(url: str, request: Request, authorization: str, seconds: int) -> Result:
    """One run of wrk: 2 threads, 32 connections kept alive."""
    body = "".join(f"\\{byte:03d}" for byte in request.body)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = "{body}"\n')
        script.write('wrk.headers["Content-Type"] = "application/ipp"\n')
        if authorization:
            script.write(f'wrk.headers["Authorization"] = "Basic {authorization}"\n')
        script.flush()
        command = ["wrk", "-t2", "-c32", f"-d{seconds}s", "--latency", "-s", script.name, url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return parse(output)


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
    with running_fleet() as fleet, stock_haproxy(fleet) as stock:
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
            report(request, ways, options.rounds, options.seconds)


def report(request: Request, ways: dict[str, tuple[str, str]], rounds: int, seconds: int) -> None:
    results: dict[str, list[Result]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (url, authorization) in ways.items():
            results[way].append(measure(url, request, authorization, seconds))
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
