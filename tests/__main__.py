"""`./cupsfleet test`: style, types, import rules, then all tests.

Further arguments go to pytest and skip the rest; after `--campaign` they go to the fault campaign instead
(benchmarks/campaign.py).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)

SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""Two files at a time, since most tests wait for processes; those with the longest first, as their folders stand."""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--campaign"]:
        return _campaign(arguments[1:])
    tools = Path(sys.executable).parent
    for name, *options in () if arguments else CHECKS:
        print(f"== {name} {' '.join(options)}", flush=True)
        if code := subprocess.run([str(tools / name), *options]).returncode:
            return code
    print("== pytest", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *(arguments or SIDE_BY_SIDE)]).returncode


def _campaign(arguments: list[str]) -> int:
    print("== fault campaign", flush=True)
    return subprocess.run([sys.executable, "-m", "benchmarks.campaign", *arguments]).returncode


sys.exit(main(sys.argv[1:]))
