"""The counting backend on a real node, in front of a virtual printer."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from pyipp.enums import IppOperation

from controller import processes
from controller.costs import install, journal
from controller.costs.attempts import Attempt, put_together
from controller.costs.charge import Site
from controller.costs.collect import Charger
from controller.costs.ledger import Ledger
from controller.costs.pump import LOOK_SECONDS
from controller.jobs.table import Job, JobTable
from controller.nodes import settings
from controller.nodes.driver import NodeSpec
from controller.nodes.process import SOCKET_BACKEND, Backend, ProcessDriver
from controller.nodes.queues import Queue
from controller.store import Store
from tests.contract.test_driver import free_port
from tests.documents import A3, pdf, rendered, text
from tests.process.costs.conftest import Node, Printer, attempts, ends, eventually

PDF_PPD = "/usr/share/ppd/cupsfilters/Generic-PDF_Printer-PDF.ppd"
QUEUES = (("office", "raw"), ("pdf", PDF_PPD))
MODELS = {
    "pdf": PDF_PPD,
    "postscript": "drv:///sample.drv/generic.ppd",
    "pwg": "drv:///cupsfilters.drv/pwgrast.ppd",
    "pcl": "drv:///sample.drv/generpcl.ppd",
}


def send(node: Node, document: Path, *options: str, queue: str = "office", user: str = "alice") -> None:
    command = ["lp", "-h", f"{node.spec.host}:{node.spec.port}", "-U", user, "-d", queue, *options, str(document)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def pages(attempt: Attempt) -> int:
    return attempt.known.pages * attempt.known.copies * attempt.copies


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


def test_a_job_whose_real_backend_is_killed_is_printed_again(counting: Node, printer: Printer, tmp_path: Path) -> None:
    """Stock CUPS takes it for printed."""
    printer.stop()
    send(counting, pdf(tmp_path / "1.pdf", 2), "-o", "raw")
    _, real = eventually(lambda: _backends(counting))
    os.kill(real, signal.SIGKILL)
    failed, *_ = ends(counting)
    assert not failed.whole
    printer.start()
    end = ends(counting, 2)[1]
    assert (pages(end), end.whole, end.uuid) == (2, True, failed.uuid)
    assert len(eventually(printer.printed)) == 1


def test_a_backend_that_is_killed_leaves_no_sender_behind(counting: Node, printer: Printer, tmp_path: Path) -> None:
    printer.stop()
    send(counting, pdf(tmp_path / "1.pdf", 2), "-o", "raw")
    ours, real = eventually(lambda: _backends(counting))
    os.kill(ours, signal.SIGKILL)
    eventually(lambda: not {ours, real} & set(processes.marked(settings.mark_of(counting.spec.folder))))
    assert [one.ended for one in attempts(counting)] == [0.0]


def test_a_job_that_is_cancelled_while_it_waits_for_the_printer_has_sent_nothing(
    counting: Node, printer: Printer, tmp_path: Path
) -> None:
    printer.stop()
    send(counting, pdf(tmp_path / "1.pdf", 5), "-o", "raw")
    eventually(lambda: attempts(counting))
    eventually(lambda: _backends(counting))
    [job] = counting.jobs()
    counting.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
    [end] = ends(counting)
    assert (end.whole, end.share) == (False, 0.0)


def test_a_job_that_is_cancelled_half_way_is_charged_for_what_was_sent(counting: Node, tmp_path: Path) -> None:
    """The printer takes a third of forty megabytes, of ten pages, and no more."""
    document, pages_ = heavy(tmp_path / "heavy.pdf", 10, 4 << 20), 10
    with socket.create_server(("127.0.0.1", 0)) as stalling:
        stalling.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        device = f"socket://127.0.0.1:{stalling.getsockname()[1]}"
        counting.declare(counting.driver.queue(Queue("office", device)))
        send(counting, document, "-o", "raw")
        stalling.settimeout(30)
        with stalling.accept()[0] as printer:
            left = document.stat().st_size // 3
            while left > 0:
                left -= len(printer.recv(min(left, 1 << 20)))
            time.sleep(10 * LOOK_SECONDS)  # as root cupsd ends both backends at once, so the last look counts
            [number] = counting.jobs()
            counting.ask("alice", IppOperation.CANCEL_JOB, job_id=number)
            [end] = ends(counting)
    assert 0.3 < end.share < 1
    with Store(tmp_path / "db", create=True) as store, store.transaction():
        told = Job(end.uuid, number, counting.spec.name, "office", "alice", state="canceled", completed=1)
        JobTable(store).put([told])
    charger = Charger(lambda: Store(tmp_path / "db"), tmp_path / "nodes", Site)
    charger.collect()
    charger.collect()
    with Store(tmp_path / "db") as store:
        [entry] = Ledger(store).entries(date(1970, 1, 1), date(2100, 1, 1))
    assert entry.pages == math.ceil(pages_ * end.share)
    assert entry.origin == "estimated"


def heavy(path: Path, pages: int, size: int) -> Path:
    """A PDF in which each page weighs so many bytes."""
    with pikepdf.new() as document:
        for _ in range(pages):
            page = document.add_blank_page()
            page.obj["/PieceInfo"] = document.make_stream(os.urandom(size))
        document.save(path, compress_streams=False)
    return path


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


def _backends(node: Node) -> list[int]:
    """Our backend and the real one; [] until both run."""
    found = sorted(processes.marked(settings.mark_of(node.spec.folder)))
    real = [pid for pid in found if b"/backend/socket" in _command(pid)]
    return [next(pid for pid in found if b"/backend/cupsfleet" in _command(pid)), *real] if real else []


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


FAKE = """#!/bin/sh
trap 'echo "INFO: told to stop" >&2; exit 0' TERM
case "$DEVICE_URI" in
  fake://exit/*) cat >/dev/null; exit "${DEVICE_URI##*/}" ;;
  fake://signal/*) kill -"${DEVICE_URI##*/}" $$ ;;
  fake://said/*) cat >/dev/null; printf 'STATE: +toner-low-warning\nPAGE: total 7\nATTR: a=b\nhalf a line' >&2 ;;
  fake://channels/*) cat >/dev/null; echo back >&3; read line <&4; echo "INFO: $line" >&2 ;;
  fake://slow/*) while :; do sleep 0.05; done ;;
  fake://early/*) exit 0 ;;
  fake://half/*) exec 5<"$6"; dd bs=1000 count=5 <&5 >/dev/null 2>&1; while :; do sleep 0.05; done ;;
esac
"""


class TestFaithfulness:
    """The backend alone, in front of a real backend that is a shell script."""

    @pytest.fixture
    def bare(self, tmp_path: Path) -> Path:
        """A folder of a node that does not run."""
        driver = ProcessDriver(backends=[install.backend()])
        driver._link_programs(tmp_path)
        (tmp_path / "bin/backend/fake").write_text(FAKE)
        (tmp_path / "bin/backend/fake").chmod(0o700)
        return tmp_path

    def run(
        self, node: Path, device: str, data: bytes = b"text\n", **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            _backend(node),
            env=_environment(device),
            input=data,
            capture_output=True,
            timeout=30,
            check=False,
            **options,
        )

    @pytest.mark.parametrize("code", range(8))
    def test_exit_codes(self, bare: Path, code: int) -> None:
        assert self.run(bare, f"fake://exit/{code}").returncode == code
        assert _end(bare)["status"] == code

    @pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
    def test_a_real_backend_that_crashes_crashes_this_one(self, bare: Path, number: signal.Signals) -> None:
        (bare / "bin/backend/fake").write_text(FAKE.replace("trap", ": trap"))
        assert self.run(bare, f"fake://signal/{int(number)}").returncode == -number

    def test_what_it_says_is_passed_on_and_whole_lines_stay_whole(self, bare: Path) -> None:
        said = self.run(bare, "fake://said/x", b"page\fpage\n").stderr
        assert said.startswith(b"STATE: +toner-low-warning\nPAGE: total 7\nATTR: a=b\n")
        assert b"half a line" in said
        assert b"\nPAGE: total 2\n" in said

    def test_side_and_back_channel_are_its_own(self, bare: Path) -> None:
        back, written = os.pipe()
        side, asked = os.pipe()
        os.write(asked, b"device-id\n")

        def place() -> None:
            # By way of numbers that nothing here has: one of the pipe's own may be 3 or 4.
            ends = [fcntl.fcntl(handle, fcntl.F_DUPFD, 500) for handle in (written, side)]
            for handle, number in zip(ends, (3, 4), strict=True):
                os.dup2(handle, number)

        run = self.run(bare, "fake://channels/x", preexec_fn=place, close_fds=False)
        assert os.read(back, 100) == b"back\n"
        assert b"INFO: device-id\n" in run.stderr
        for handle in (back, written, side, asked):
            os.close(handle)

    def test_a_signal_is_passed_on(self, bare: Path) -> None:
        with subprocess.Popen(
            _backend(bare), env=_environment("fake://slow/x"), stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            eventually(lambda: _journal(bare))
            eventually(lambda: b"fake" in b"".join(_command(pid) for pid in _children(process.pid)))
            eventually(lambda: _children(_children(process.pid)[0]))  # the script waits in its loop, its trap is set
            process.terminate()
            _, said = process.communicate(timeout=20)
        assert process.returncode == 0
        assert b"told to stop" in said
        assert _end(bare)["whole"] is False

    def test_of_a_job_that_is_cancelled_half_way_half_was_sent(self, bare: Path, tmp_path: Path) -> None:
        document = tmp_path / "document.txt"
        document.write_bytes(b"x" * 99 + b"\n" + b"y" * 9900)
        command = [*_backend(bare), str(document)]
        with subprocess.Popen(command, env=_environment("fake://half/x"), stderr=subprocess.DEVNULL) as process:
            eventually(lambda: _read_of(document, process.pid) == 5000)
            process.terminate()
            assert process.wait(20) == 0
        assert (_end(bare)["whole"], _end(bare)["share"]) == (False, 0.5)

    def test_a_real_backend_that_reads_nothing_stops_the_filter(self, bare: Path) -> None:
        with subprocess.Popen(
            _backend(bare), env=_environment("fake://early/x"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin
            with pytest.raises(BrokenPipeError):
                process.stdin.write(b"x" * (256 << 20))
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            assert process.wait(20) == 0

    def test_half_a_gigabyte_takes_little_memory(self, bare: Path, tmp_path: Path) -> None:
        page = rendered("cups", pdf(tmp_path / "1.pdf", 1), tmp_path / "1.ras", "-r600").read_bytes()
        header, body = page[:4], page[4:]
        count = (500 << 20) // len(body) + 1
        command = [*_backend(bare)]
        with subprocess.Popen(
            command, env=_environment("fake://exit/0"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin
            process.stdin.write(header)
            highest = 0
            for _ in range(count):
                process.stdin.write(body)
                highest = max(highest, sum(_resident(pid) for pid in (process.pid, *_children(process.pid))))
            process.stdin.close()
            assert process.wait(60) == 0
        assert pages(list(put_together(_journal(bare), {}).values())[-1]) == count
        assert 0 < highest < 100 << 20

    def test_without_discovery_arguments_it_finds_nothing(self, bare: Path) -> None:
        run = subprocess.run([_backend(bare)[0]], capture_output=True, timeout=10, check=False)
        assert (run.returncode, run.stdout) == (0, b"")

    def test_a_device_without_a_backend_stops_the_queue(self, bare: Path) -> None:
        run = self.run(bare, "nosuch://x")
        assert run.returncode == 4
        assert b"ERROR: there is no backend for the device 'nosuch://x'\n" in run.stderr

    def test_a_full_disk_costs_the_count_and_not_the_job(self, bare: Path) -> None:
        shutil.rmtree(bare / "costs")
        (bare / "costs").write_text("in the way")
        run = self.run(bare, "fake://exit/0")
        assert run.returncode == 0
        assert b"WARNING: the attempt could not be written down" in run.stderr


def _backend(node: Path) -> list[str]:
    return [str(node / "bin/backend/cupsfleet"), "5", "alice", "title", "1", "job-uuid=urn:uuid:1"]


def _environment(device: str) -> dict[str, str]:
    return {"DEVICE_URI": f"cupsfleet:/{device}", "PATH": "/usr/bin:/bin", "PRINTER": "office"}


def _journal(node: Path) -> list[dict[str, Any]]:
    return [record for path in journal.files(str(node)) for record, _ in journal.read(path, 0)]


def _end(node: Path) -> dict[str, Any]:
    [end] = [record for record in _journal(node) if record["event"] == "end"]
    return end


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _read_of(document: Path, pid: int) -> int:
    """How much of a document the children of a process have read."""
    for child in _children(pid):
        for descriptor in Path(f"/proc/{child}/fd").glob("*"):
            with contextlib.suppress(OSError):
                if descriptor.readlink() == document:
                    position = Path(f"/proc/{child}/fdinfo/{descriptor.name}").read_text().split()[1]
                    if int(position):
                        return int(position)
    return 0


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
