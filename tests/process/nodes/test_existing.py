"""A server that somebody else runs; here one of ours stands in for it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from controller import processes
from controller.nodes.driver import NodeError
from controller.nodes.existing import ExistingDriver
from tests.contract.test_driver import free_port
from tests.process.nodes.conftest import Node, eventually


def test_a_server_that_fits_is_taken_and_left_alone(office: Node) -> None:
    driver = ExistingDriver()
    driver.start(office.spec)
    assert driver.alive(office.spec) is None
    driver.stop(office.spec)
    driver.remove(office.spec)
    assert office.driver.alive(office.spec)


def test_it_is_reached_over_tls(office: Node) -> None:
    ExistingDriver(tls=True).start(office.spec)
    with pytest.raises(NodeError, match="certificate"):
        ExistingDriver(tls=True, verify=True).start(office.spec)


def test_a_foreign_range_of_numbers_is_answered_with_the_commands(office: Node) -> None:
    spec = replace(office.spec, slot=7, next_id=7_000_321)
    with pytest.raises(NodeError) as caught:
        ExistingDriver().start(spec)
    text = str(caught.value)
    assert "echo 'NextJobId 7000321'" in text
    assert "echo 'NextSubscriptionId 7000321'" in text
    assert f"7. here: cupsfleet add 127.0.0.1:{spec.port}" in text


def test_a_server_without_queues_is_answered_with_the_command(node: Node) -> None:
    node.start()
    with pytest.raises(NodeError, match=r"1\. lpadmin -p QUEUE"):
        ExistingDriver().start(node.spec)


def test_nobody_there(office: Node) -> None:
    with pytest.raises(NodeError, match=r"1\. .*Listen 127.0.0.1:"):
        ExistingDriver().start(replace(office.spec, port=free_port()))


def test_one_that_is_stopped(office: Node) -> None:
    os.kill(office.pid(), signal.SIGSTOP)
    with pytest.raises(NodeError, match="did not answer within 3 s"):
        ExistingDriver().start(office.spec)


def test_one_that_wants_another_host_name(office: Node) -> None:
    """On loopback cupsd insists on localhost, whatever ServerAlias says."""
    with pytest.raises(NodeError, match="ServerAlias"):
        ExistingDriver(host_header="print.example.org").start(office.spec)


def test_one_that_lets_only_authenticated_users_in(office: Node) -> None:
    office.driver.stop(office.spec)
    pid = _start_with(
        office, "<Limit Create-Job Print-Job Validate-Job>", "    AuthType Basic\n    Require valid-user\n"
    )
    try:
        with pytest.raises(NodeError, match="no Require line"):
            ExistingDriver().start(office.spec)
    finally:
        os.kill(pid, signal.SIGKILL)


def _start_with(office: Node, section: str, lines: str) -> int:
    """Start the node's cupsd with lines added to its settings, which the driver would not do."""
    conf = office.spec.folder / "etc/cupsd.conf"
    conf.write_text(conf.read_text().replace(f"{section}\n", f"{section}\n{lines}"))
    assert lines in conf.read_text()
    command = office.driver._command(office.spec.folder.resolve())
    record = office.spec.folder / "process"
    pid = processes.spawn(command, record, office.spec.folder / "log/output", dict(os.environ))
    eventually(lambda: office.reading().error is None)
    return pid
