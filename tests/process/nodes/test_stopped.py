"""A job whose filter fails is stopped by its server, and can be held and released like others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.jobs import remote
from controller.jobs.spool import Spool
from controller.nodes.queues import Queue
from probes import ipp
from tests.process.nodes.conftest import Node, Printer, eventually

PPD = """*PPD-Adobe: "4.3"
*FormatVersion: "4.3"
*FileVersion: "1.0"
*LanguageVersion: English
*LanguageEncoding: ISOLatin1
*PCFileName: "FAIL.PPD"
*Manufacturer: "None"
*Product: "(Fail)"
*ModelName: "Fail"
*ShortNickName: "Fail"
*NickName: "Fail"
*PSVersion: "(3010.000) 0"
*LanguageLevel: "3"
*ColorDevice: False
*DefaultColorSpace: Gray
*FileSystem: False
*Throughput: "1"
*TTRasterizer: Type42
*cupsVersion: 2.3
*cupsFilter: "text/plain 0 FILTER"
*OpenUI *PageSize/Media Size: PickOne
*DefaultPageSize: A4
*PageSize A4/A4: "<</PageSize[595 842]>>setpagedevice"
*CloseUI: *PageSize
*OpenUI *PageRegion/Media Size: PickOne
*DefaultPageRegion: A4
*PageRegion A4/A4: "<</PageSize[595 842]>>setpagedevice"
*CloseUI: *PageRegion
*DefaultImageableArea: A4
*ImageableArea A4/A4: "0 0 595 842"
*DefaultPaperDimension: A4
*PaperDimension A4/A4: "595 842"
*DefaultFont: Courier
*Font Courier: Standard "(001.000)" Standard ROM
"""


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that filters, which as root run as lp, may enter."""
    with tempfile.TemporaryDirectory(prefix="filters-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def failing(node: Node, printer: Printer, readable: Path) -> Path:
    """A node whose queue `office` has a filter that fails as long as this file is there."""
    flag, program = readable / "fails", readable / "filter"
    flag.touch()
    program.write_text(f'#!/bin/sh\n[ -e "{flag}" ] && exit 1\ncat "${{6:--}}"\n')
    program.chmod(0o755)
    ppd = readable / "fail.ppd"
    ppd.write_text(PPD.replace("FILTER", str(program)))
    printer.start()
    node.start()
    node.declare(Queue("office", printer.device, model=str(ppd)))
    return flag


def test_it_is_held_and_released_to_begin_anew(failing: Path, node: Node, printer: Printer) -> None:
    job = node.lp("alice", text="once\n")
    server = ipp.Server(node.spec.host, node.spec.port, node.driver.token(node.spec).user)

    def state() -> str:
        found = remote.standing(server, job)
        return found.state if found else ""

    eventually(lambda: state() == "stopped")
    assert node.jobs()[job].state_reasons
    eventually(lambda: Spool(node.spec.folder).job("n3", job).state == "stopped")
    remote.hold(server, job)
    assert state() == "held"
    failing.unlink()
    remote.release(server, job)
    eventually(lambda: state() == "completed")
    assert [path.read_text() for path in eventually(printer.printed)] == ["once\n"]
