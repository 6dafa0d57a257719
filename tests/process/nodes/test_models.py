"""Queues with a PPD, and documents that are converted for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.nodes import queues
from controller.nodes.driver import NodeError
from controller.nodes.queues import Queue
from tests.process.fleet import free_port
from tests.process.nodes.conftest import Node, Printer, eventually

PPD = Path("/usr/share/ppd/cupsfilters/Generic-PDF_Printer-PDF.ppd")


@pytest.mark.skipif(not PPD.exists(), reason="cups-filters is not installed")
def test_a_ppd_converts_and_raw_takes_it_back(node: Node, printer: Printer) -> None:
    """As root the filters run as lp and read the PPD in the node's folder, below one of mode 700."""
    printer.start()
    node.start()
    queue = Queue("office", printer.device, model=str(PPD), options=(("sides", "two-sided-long-edge"),))
    assert node.declare(queue) == ["office: made"]
    assert node.declare(queue) == []
    node.lp("alice", text="to be a PDF\n")
    [document] = eventually(printer.printed)
    assert document.suffix == ".pdf"
    assert node.declare(replace(queue, model="raw", options=())) == ["office: model and options set"]
    node.lp("alice", "-o", "raw", text="to stay as it is\n")
    assert eventually(lambda: printer.printed()[1:])[0].read_text() == "to stay as it is\n"


@pytest.mark.skipif(not PPD.exists(), reason="cups-filters is not installed")
def test_a_driverless_queue_waits_for_its_printer(
    node: Node, printer: Printer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cupsd asks such a printer beside, and passes documents on as they come until it has answered. Another cupsd's
    queue with a PPD stands for one."""
    elsewhere = Node(node.driver, replace(node.spec, name="n4", port=free_port(), folder=tmp_path / "nodes/n4"))
    driverless = Queue("mfp", f"ipp://127.0.0.1:{elsewhere.spec.port}/printers/office", model="everywhere")
    wanted = (driverless, Queue("plain", printer.device))
    node.start()
    with monkeypatch.context() as hurried:
        hurried.setattr(queues, "DESCRIBE_SECONDS", 0.5)
        node.declare(*wanted)
    spec, token = node.spec, node.driver.token(node.spec)
    assert queues.missing(spec.host, spec.port, token, wanted, 10) == ("mfp",)
    assert "mfp takes no jobs yet" in queues.undescribed(spec.host, spec.port, token, wanted, 10)[0]
    try:
        elsewhere.start()
        elsewhere.declare(Queue("office", printer.device, model=str(PPD)))
        eventually(lambda: node.declare(*wanted) and not queues.missing(spec.host, spec.port, token, wanted, 10), 30)
    finally:
        node.driver.remove(elsewhere.spec)
    assert node.declare(*wanted) == []


def test_an_unknown_model_is_an_error_in_words(node: Node, printer: Printer) -> None:
    node.start()
    with pytest.raises(NodeError, match="queues could not be set up"):
        node.declare(Queue("office", printer.device, model="no/such.ppd"))
