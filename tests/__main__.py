"""`./cupsfleet test`: style, types, import rules, all tests, a short fault campaign.

Further arguments go to pytest and skip the rest; after `--campaign` they go to the campaign (benchmarks/campaign.py).
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


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--campaign"]:
        return _campaign(arguments[1:])
    tools = Path(sys.executable).parent
    for name, *options in () if arguments else CHECKS:
        print(f"== {name} {' '.join(options)}", flush=True)
        if code := subprocess.run([str(tools / name), *options]).returncode:
            return code
    print("== pytest", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", *arguments]).returncode
    return code if code or arguments else _campaign([])


def _campaign(arguments: list[str]) -> int:
    print("== fault campaign", flush=True)
    return subprocess.run([sys.executable, "-m", "benchmarks.campaign", *arguments]).returncode


sys.exit(main(sys.argv[1:]))
