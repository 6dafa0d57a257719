"""Seconds by the clock that a start takes where all is installed, and what the start script has of them.

    python -m benchmarks.start [--runs 5]

The script's part is what `./cupsfleet up --help` takes longer than the Python program alone: a look at the Debian
packages, a checksum of the lock files, a look at the virtual environment. `up` returns when jobs can be printed, on two
nodes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.process.fleet import free_port

SCRIPT = ["./cupsfleet"]
PROGRAM = [sys.executable, "-P", "-m", "controller"]


def seconds(command: Sequence[str]) -> float:
    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        state = ["--state", str(Path(folder) / "state")]
        up = [*SCRIPT, "up", "--detach", "--port", str(free_port()), *state]
        took: dict[str, list[float]] = {}

        def timed(what: str, *command: str) -> None:
            took.setdefault(what, []).append(seconds(command))

        down = [*SCRIPT, "down", *state]
        try:
            timed("up, the first one of a state folder", *up)
            for _ in range(runs):
                subprocess.run(down, check=True, capture_output=True)
                timed("up, nothing runs", *up)
                timed("up, the fleet runs", *up)
                timed("status", *SCRIPT, "status", *state)
                timed("up --help, the script", *SCRIPT, "up", "--help")
                timed("up --help, the program alone", *PROGRAM, "up", "--help")
        finally:
            subprocess.run(down, check=False, capture_output=True)
    print(f"{'s':38}{'n':>4}{'median':>9}{'max':>9}")
    for what, times in took.items():
        print(f"{what:38}{len(times):4}{statistics.median(times):9.2f}{max(times):9.2f}")
    pairs = zip(took["up --help, the script"], took["up --help, the program alone"], strict=True)
    added = [script - alone for script, alone in pairs]
    print(f"{'added by the script':38}{runs:4}{statistics.median(added):9.2f}{max(added):9.2f}")


if __name__ == "__main__":
    main()
