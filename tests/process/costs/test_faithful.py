"""The counting backend alone, in front of a real backend that is a shell script: it is as if it were not there."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controller.costs import install, journal
from controller.costs.attempts import put_together
from controller.nodes.process import ProcessDriver
from tests.documents import heavy, pdf, rendered
from tests.process.costs.conftest import command_of, eventually, pages

FAKE = """#!/bin/sh
trap 'echo "INFO: told to stop" >&2; exit 0' TERM
case "$DEVICE_URI" in
  fake://exit/*) cat >/dev/null; exit "${DEVICE_URI##*/}" ;;
  fake://signal/*) kill -"${DEVICE_URI##*/}" $$ ;;
  fake://said/*) cat >/dev/null; printf 'STATE: +toner-low-warning\nPAGE: total 7\nATTR: a=b\nhalf a line' >&2 ;;
  fake://channels/*) cat >/dev/null; echo back >&3; read line <&4; echo "INFO: $line" >&2 ;;
  fake://slow/*) while :; do sleep 0.05; done ;;
  fake://early/*) exit 0 ;;
  fake://sum/*) md5sum >&2 ;;
  fake://part/*) dd bs=1000 count=5 >/dev/null 2>&1; while :; do sleep 0.05; done ;;
  fake://half/*) exec 5<"$6"; dd bs=1000 count=5 <&5 >/dev/null 2>&1; while :; do sleep 0.05; done ;;
esac
"""

IPP = """#!/bin/sh
cat >/dev/null
echo "INFO: $DEVICE_URI" >&2
echo "PAGE: total 2" >&2
case "$DEVICE_URI" in *[?\\&]snmp=false) ;; *) echo "PAGE: total 57" >&2 ;; esac
"""
"""As CUPS's: the job's own pages, and then by how much the printer's life counter grew, unless SNMP is off."""


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

    @pytest.mark.parametrize(
        ("device", "handed_on", "reported"),
        [
            ("ipp://p/ipp/print", "ipp://p/ipp/print?snmp=false", 2),
            ("ipp://p/ipp/print?waitjob=true&snmp=true", "ipp://p/ipp/print?waitjob=true&snmp=true&snmp=false", 2),
            ("ipp://p:631/printers/office", "ipp://p:631/printers/office?snmp=false", 0),
        ],
    )
    def test_what_other_jobs_printed_meanwhile_is_not_reported(
        self, bare: Path, device: str, handed_on: str, reported: int
    ) -> None:
        (bare / "bin/backend/ipp").unlink()
        (bare / "bin/backend/ipp").write_text(IPP)
        (bare / "bin/backend/ipp").chmod(0o700)
        assert f"INFO: {handed_on}\n".encode() in self.run(bare, device).stderr
        assert _end(bare)["reported"] == reported

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
            eventually(lambda: b"fake" in b"".join(command_of(pid) for pid in _children(process.pid)))
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

    def test_of_a_pdf_whose_end_never_came_the_pages_count_that_did(self, bare: Path, tmp_path: Path) -> None:
        """Its filter is slow, and the job is cancelled before it is done."""
        whole = heavy(tmp_path / "heavy.pdf", 10, 100 << 10).read_bytes()
        came = whole[: len(whole) // 2]
        with subprocess.Popen(
            _backend(bare), env=_environment("fake://part/x"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin
            process.stdin.write(came)
            process.stdin.flush()
            eventually(lambda: [one for one in _journal(bare) if one.get("share", 0) == round(5000 / len(came), 4)])
            process.terminate()
            assert process.wait(20) == 0
        [attempt] = put_together(_journal(bare), {}).values()
        assert (attempt.known.origin, attempt.whole) == ("estimated", False)
        assert 3 <= pages(attempt) <= 5

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

    @pytest.mark.parametrize("limits", [False, True])
    @pytest.mark.parametrize("room", [-1, 0, 100_000, 700_000])
    def test_without_room_to_write_it_down_a_job_prints_and_is_not_counted(
        self, bare: Path, tmp_path: Path, limits: bool, room: int
    ) -> None:
        """room: how large a file may become, the journal's too; -1 where none can be made for the document."""
        document = heavy(tmp_path / "heavy.pdf", 10, 100 << 10).read_bytes()
        if limits:
            (bare / "costs/gate.json").write_text('{"when_unreachable": "allow"}')
        environment = {**_environment("fake://sum/x"), "TMPDIR": str(tmp_path / ("nowhere" if room < 0 else ""))}
        run = subprocess.run(
            ["prlimit", *([f"--fsize={room}"] if room >= 0 else []), *_backend(bare)],
            env=environment,
            input=document,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert hashlib.md5(document).hexdigest().encode() in run.stderr
        if room != 0:
            [attempt] = put_together(_journal(bare), {}).values()
            assert (attempt.known.origin, attempt.whole) == ("unknown", True)


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
