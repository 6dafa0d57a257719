"""`./cupsfleet` on a machine that is set up already."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def cpu_seconds(*command: str) -> tuple[float, str]:
    """What a command took of the processors, with all that it started, and what it said on stderr. It must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "CUPSFLEET_VENV": sys.prefix}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.returncode == 0, run.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, run.stderr


def test_a_second_start_sets_nothing_up_again() -> None:
    """Counted in processor time, which a busy machine does not change; on a quiet one it is no less by the clock."""
    bare, _ = cpu_seconds(sys.executable, "-P", "-m", "controller", "up", "--help")
    whole, said = cpu_seconds(str(ROOT / "cupsfleet"), "up", "--help")
    assert "installing" not in said
    assert whole - bare < 2
