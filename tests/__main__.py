"""`./cupsfleet test`: style, types, import rules, all tests, and a short fault campaign.

Further arguments go to pytest and skip the rest; after `--campaign` they go to the fault campaign instead
(benchmarks/campaign.py).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)

SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""Two files at a time, since most tests wait for processes; those with the longest first, as their folders stand."""

SHORT_CAMPAIGN = ("--seed", "2028", "--seconds", "90", "--pause", "1.5")
"""With what comes before and after it, about two and a half minutes."""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--campaign"]:
        return _campaign(arguments[1:])
    tools = Path(sys.executable).parent
    for name, *options in () if arguments else CHECKS:
        print(f"== {name} {' '.join(options)}", flush=True)
        if code := subprocess.run([str(tools / name), *options]).returncode:
            return code
    print("== pytest", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", *(arguments or SIDE_BY_SIDE)]).returncode
    return code if code or arguments else _short_campaign()


def _short_campaign() -> int:
    folder = Path(tempfile.mkdtemp(prefix="cupsfleet-campaign-"))
    report, state = folder / "report.md", folder / "state"
    code = _campaign([*SHORT_CAMPAIGN, "--report", str(report), "--keep", str(state)])
    if code and report.exists():
        print(f"the fault campaign broke a promise: see {report}; the fleet's state is kept in {state}", flush=True)
        return code
    shutil.rmtree(folder)
    if code:
        print(f"the fault campaign came to no end (exit status {code}); what it said stands above", flush=True)
    return code


def _campaign(arguments: list[str]) -> int:
    print("== fault campaign", flush=True)
    return subprocess.run([sys.executable, "-m", "benchmarks.campaign", *arguments]).returncode


sys.exit(main(sys.argv[1:]))
