"""The counting backend on a real node, in front of a virtual printer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.costs import install
from controller.nodes.driver import NodeSpec
from controller.nodes.process import SOCKET_BACKEND, Backend, ProcessDriver
from controller.nodes.queues import Queue, missing
from tests.documents import A3, pdf, rendered, text
from tests.process.costs.conftest import MODELS, PATIENCE, Node, Printer, attempts, ends, eventually, pages, send
from tests.process.fleet import free_port

QUEUES = (("office", "raw"), ("pdf", MODELS["pdf"]))


def test_documents_are_counted_exactly_on_raw_and_driver_queues(
    counting: Node, printer: Printer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints the table of what was expected and what was counted."""
    wanted = [counting.driver.queue(Queue("office", printer.device))]
    wanted += [counting.driver.queue(Queue(name, printer.device, model)) for name, model in MODELS.items()]
    counting.declare(*wanted)
    documents = {
        "1 page": (pdf(tmp_path / "1.pdf", 1), 1),
        "10 pages": (pdf(tmp_path / "10.pdf", 10), 10),
        "300 pages A3": (pdf(tmp_path / "300.pdf", 300, A3), 300),
        "10 pages PostScript": (rendered("ps2write", tmp_path / "10.pdf", tmp_path / "10.ps"), 10),
        "10 pages raster": (rendered("pwgraster", tmp_path / "10.pdf", tmp_path / "10.pwg"), 10),
        "100 lines": (text(tmp_path / "100.txt", 100), 2),
    }
    rows: list[str] = []
    wrong: list[str] = []
    for queue in ("office", "pdf", "postscript", "pwg", "pcl"):
        for name, (document, count) in documents.items():
            for options, copies in (((), 1), (("-n", "3"), 3), (("-o", "sides=two-sided-long-edge"), 1)):
                if (queue != "office" and "raster" in name) or (options and "300" in name):
                    continue
                raw = ("-o", "raw") if queue == "office" else ()
                seen = len(rows)
                send(counting, document, *options, *raw, queue=queue)
                end = ends(counting, seen + 1)[seen]
                expected = count * copies
                given, origin = " ".join(options), end.known.origin
                rows.append(f"{queue:11} {name:20} {given:28} {expected:8} {pages(end):7} {origin}")
                if pages(end) != expected:
                    wrong.append(rows[-1])
    with capsys.disabled():
        print("\nqueue       document             options                   expected counted origin", *rows, sep="\n")
    assert not wrong, "\n".join(wrong)


def test_several_documents_of_one_job_all_count(counting: Node, printer: Printer, tmp_path: Path) -> None:
    one, two = pdf(tmp_path / "1.pdf", 2), pdf(tmp_path / "2.pdf", 3)
    counting.declare(*(counting.driver.queue(Queue(name, printer.device, model)) for name, model in QUEUES))
    for number, (queue, _) in enumerate(QUEUES):
        raw = ("-o", "raw") if queue == "office" else ()
        send(counting, one, *raw, "-n", "2", str(two), queue=queue)
        assert pages(ends(counting, number + 1)[number]) == 10


def test_the_document_arrives_unchanged_and_the_job_knows_its_pages(
    counting: Node, printer: Printer, tmp_path: Path
) -> None:
    document = pdf(tmp_path / "1.pdf", 4)
    send(counting, document, "-o", "raw", "-o", "job-billing='Chemistry 2'")
    [end] = ends(counting)
    assert [printed.read_bytes() for printed in eventually(printer.printed)] == [document.read_bytes()]
    assert end.user == "alice"
    assert end.options["job-billing"] == "Chemistry 2"
    page_log = counting.spec.folder / "log/page_log"
    eventually(lambda: page_log.exists() and " total 4 " in page_log.read_text())


def test_a_driverless_queue_counts_and_keeps_to_limits(counting: Node, printer: Printer, tmp_path: Path) -> None:
    """Another cupsd's queue with a driver stands for such a printer; cupsd asks it itself, before the backend comes."""
    elsewhere = Node(counting.driver, replace(counting.spec, name="n4", port=free_port(), folder=tmp_path / "nodes/n4"))
    queue = Queue("mfp", f"ipp://127.0.0.1:{elsewhere.spec.port}/printers/pdf", "everywhere")
    wanted = counting.driver.queue(queue)
    spec, token = counting.spec, counting.driver.token(counting.spec)
    try:
        elsewhere.start()
        elsewhere.declare(Queue("pdf", printer.device, MODELS["pdf"]))
        eventually(
            lambda: counting.declare(wanted) == [] and not missing(spec.host, spec.port, token, [wanted], 10), 60
        )
        document = pdf(tmp_path / "1.pdf", 3)
        send(counting, document, "-n", "2", queue="mfp")
        assert pages(ends(counting)[0]) == 6
        eventually(printer.printed, PATIENCE)

        (spec.folder / "costs/gate.json").write_text('{"when_unreachable": "hold"}')
        send(counting, document, queue="mfp")
        held = eventually(lambda: [one for one in attempts(counting) if one.held], PATIENCE)
        assert held[0].known.pages == 3
        counting.driver.stop(spec)
        counting.start()
        assert counting.declare(wanted) == []
    finally:
        counting.driver.remove(elsewhere.spec)


def test_packages_below_a_folder_that_others_may_not_enter_are_found(printer: Printer, tmp_path: Path) -> None:
    """As in a project that lies in /root: the node's view of the file system has nothing there but what it needs."""
    closed = tmp_path / "closed"
    (closed / "packages").mkdir(parents=True)
    closed.chmod(0o700)
    for package in install.packages().iterdir():
        (closed / "packages" / package.name).symlink_to(package)
    ours = install.backend()
    ours = replace(ours, needs=(closed / "packages",), settings={**ours.settings, "packages": f"{closed}/packages"})
    driver = ProcessDriver(backends=[Backend("socket", SOCKET_BACKEND), ours])
    node = Node(driver, NodeSpec("n3", 3, 3_000_001, "127.0.0.1", free_port(), closed / "n3"))
    try:
        node.start()
        node.declare(driver.queue(Queue("office", printer.device)))
        send(node, pdf(tmp_path / "1.pdf", 3), "-o", "raw")
        assert ends(node)[0].known.plain()[:2] == ["counted", [["iso_a4_210x297mm", False, 3]]]
    finally:
        driver.remove(node.spec)
