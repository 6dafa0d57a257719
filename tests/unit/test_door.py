"""What the door knows of this machine's addresses, and which of its problems are whose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from controller import addresses
from controller.config import FrontDoor, Settings
from controller.door import Door, maxconn
from controller.snapshot import Node
from controller.state import State
from controller.users import stamp
from haproxy.render import render
from tests.unit.haproxy.test_render import EDGE

PUBLIC = Settings(front_door=FrontDoor(name="print.example.org"))


def test_the_default_name_needs_no_address() -> None:
    assert addresses.own_address(Settings()) is None
    assert addresses.host_header(Settings()) == "localhost"


def test_only_an_address_that_is_here_and_no_loopback_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    useless = ["*", "127.0.0.1", "::1", "0.0.0.0", "192.0.2.9"]
    monkeypatch.setattr(addresses, "_candidates", lambda listen: iter(useless))
    assert addresses.own_address(PUBLIC) is None
    assert addresses.host_header(PUBLIC) == "localhost"


LAN = """
import fcntl, socket, struct
from controller import addresses
from tests.unit.test_door import PUBLIC
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    address = struct.pack("16sHH4s16x", b"lo", socket.AF_INET, 0, socket.inet_aton("10.9.8.7"))
    fcntl.ioctl(control, 0x8916, address)  # SIOCSIFADDR
    fcntl.ioctl(control, 0x8914, struct.pack("16sh22x", b"lo", 1))  # SIOCSIFFLAGS: up
print(addresses.own_address(PUBLIC), addresses.host_header(PUBLIC))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network of its own")
def test_on_a_network_without_a_way_out_an_interface_lends_its_address() -> None:
    command = ["unshare", "-n", sys.executable, "-c", LAN]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.split() == ["10.9.8.7", "print.example.org"], run.stderr


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("proxies", [1, 2, 4])
def test_all_proxies_together_stay_below_what_a_cupsd_takes(proxies: int, existing: bool) -> None:
    nodes = [Node("node-1", 1, "existing" if existing else "process", "127.0.0.1", 631)]
    each = maxconn(nodes, proxies)
    asked = re.findall(r"maxconn (\d+)", render(replace(EDGE, maxconn=each)))
    assert asked == [str(each)] * 4
    assert 0 < 4 * each * proxies <= (80 if existing else 320)


def test_a_problem_that_keeps_nobody_out_does_not_hide_that_the_proxies_know_the_users(tmp_path: Path) -> None:
    door = Door(State(tmp_path))
    door._edges[1] = EDGE
    door._note("name", "this machine has no address but loopback")
    assert door.known_users() == stamp(EDGE.users)
    assert (len(door.problems()), door.hindrances()) == (1, [])
    door._note("proxy 1", "it can't be told")
    assert (door.known_users(), door.hindrances()) == (None, ["it can't be told"])
