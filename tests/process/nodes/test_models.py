"""Queues with a PPD, and documents that are converted for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.nodes.driver import NodeError
from controller.nodes.queues import Queue
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
    [document] = eventually(printer.printed, 20)
    assert document.suffix == ".pdf"
    assert node.declare(replace(queue, model="raw", options=())) == ["office: model and options set"]
    node.lp("alice", "-o", "raw", text="to stay as it is\n")
    assert eventually(lambda: printer.printed()[1:])[0].read_text() == "to stay as it is\n"


def test_an_unknown_model_is_an_error_in_words(node: Node, printer: Printer) -> None:
    node.start()
    with pytest.raises(NodeError, match="queues could not be set up"):
        node.declare(Queue("office", printer.device, model="no/such.ppd"))
