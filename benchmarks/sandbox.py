"""Where a campaign may break things without harm to anything outside: a network and a mount namespace of its own, a
small disk for one node, and a clock that can be set wrong. What a machine does not allow is named by `missing`."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

DISK = "node-1"
"""The node whose folder is a small file system of its own."""
DISK_BYTES = 24 << 20
COMPILER = shutil.which("gcc")
ROUTED = "100"
"""Where the rule for local addresses goes, so that ours can come before it."""


def clock_file(state: Path) -> Path:
    """Where the programs under test read by how many seconds their wall clock is wrong."""
    return state.with_name("clock")


def set_clock(state: Path, seconds: int) -> int:
    """To one that is wrong by so much; by how much it was wrong before. In place: who reads the file has mapped it."""
    with clock_file(state).open("r+b") as clock:
        (before,) = struct.unpack("=q", clock.read())
        clock.seek(0)
        clock.write(struct.pack("=q", seconds))
    return int(before)


def takes_jumps_for_time() -> bool:
    """Whether HAProxy here may end what it carries when the clock jumps forward: before 3.1 it goes by the wall clock,
    and finds only the jumps that come while it waits for events (its commits ef8d8215d and 4150851ce)."""
    said = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    major, minor = said.split()[2].split(".")[:2]
    return (int(major), int(minor)) < (3, 1)


def missing(isolated: bool) -> list[str]:
    """Kinds that can't be had here, with the reason."""
    own = "network loss, a lying prober and a full disk: they need root, and leave to make namespaces"
    return [*([] if isolated else [own]), *([] if COMPILER else ["clock jumps: they need gcc"])]


def clock(state: Path) -> dict[str, str]:
    """The environment of programs whose wall clock the campaign sets; the monotonic one stays right."""
    if not COMPILER:
        return {}
    library = state.with_name("clock.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, Path(__file__).with_name("clock.c")], check=True)
    clock_file(state).write_bytes(struct.pack("=q", 0))
    return {"LD_PRELOAD": str(library), "CAMPAIGN_CLOCK": str(clock_file(state))}


def isolate(arguments: list[str]) -> None:
    """Run the program again in a network and mount namespace of its own, as far as this user may. Returns inside."""
    own = ["unshare", "--net", "--mount"]
    if "CAMPAIGN_INSIDE" not in os.environ and _may(own):
        os.environ["CAMPAIGN_INSIDE"] = "yes"
        os.execvp(own[0], [*own, *arguments])
    if is_isolated():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "rule", "add", "pref", ROUTED, "lookup", "local"], check=True)
        subprocess.run(["ip", "rule", "del", "pref", "0"], check=True)


def _may(unshare: list[str]) -> bool:
    """A container's root, for instance, may not."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip"))):
        return False
    return subprocess.run([*unshare, "true"], capture_output=True).returncode == 0


def is_isolated() -> bool:
    return os.geteuid() == 0 and "CAMPAIGN_INSIDE" in os.environ


def give_disk(state: Path) -> None:
    """Put one node's folder on a small file system of its own."""
    folder = state / "nodes" / DISK
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=711", "none", str(folder)], check=True)


def take_disk(state: Path) -> None:
    subprocess.run(["umount", "--lazy", str(state / "nodes" / DISK)], check=False)
