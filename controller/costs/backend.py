"""CUPS backend `cupsfleet`: counts the pages of a job, writes them down, and has the real backend print it.

    cupsfleet JOB USER TITLE COPIES OPTIONS [FILE]      DEVICE_URI=cupsfleet:/DEVICE-URI

The real backend is a child with the same descriptors: standard input (or the file), back channel 3, side channel 4.
Signals are passed on to it, and this program ends as it ends. Pages are counted in another child, with limits on its
time and memory, while the document is on its way, so that counting adds little to a job; a count that fails costs the
job nothing. Where accounts have limits (`gate`), it is counted and the controller asked before anything is sent.

Each attempt is written to the node's journal (controller.costs.journal): before the first byte is sent and after the
last, on disk before anything else happens, and in between when it is counted and how much was taken, so that one whose
backend is killed is charged too. Run by the system's Python without site-packages, as root where cupsd is
root: then the real backend becomes the account that cupsd would have used, and so does the child that counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time

from controller.costs import count, journal
from controller.costs.counter import Account, Counter, Uncounted, begin, die_with_parent, scratch
from controller.costs.progress import OfFile, OfPipe, OfSpool, Progress
from controller.costs.pump import CHUNK, Pump
from controller.costs.said import Said, speaks_of_the_job, tell, without_snmp, write_all

OK, FAILED, HOLD, STOP = 0, 1, 3, 4
"""Exit codes of backend(7)."""
SCHEME = "cupsfleet:/"
GRACE_SECONDS = 0.05
"""For a count that comes a little later than the end of printing, so that both are one line of the journal."""
NOTED_SHARE, NOTED_SECONDS = 0.05, 1.0
"""How much more must have been taken, and after what time, until it is written down again. The first is at once."""
GATE_SECONDS = 3.0
"""Time within which the controller must say whether a job may be printed."""
REFUSALS = {
    "account-limit-reached": "the limit of the account that pays is reached",
    "account-info-needed": "it must name the account that pays",
    "account-authorization-failed": "the account that it names can't be used for it",
}
"""What the owner of a held job reads in job-printer-state-message."""
OTHER_REFUSAL = "its account can't be used"


class Settings:
    """In NODE/costs: cupsfleet.json, written by the driver before each start of the node, and gate.json, which is there
    while accounts have limits (controller.costs.gate)."""

    def __init__(self, values: dict[str, object], limits: dict[str, object], folder: str) -> None:
        self.gate = os.path.join(folder, "gate") if limits else ""
        """A domain socket of the controller, '' where no account has a limit."""
        self.when_unreachable = str(limits.get("when_unreachable", "allow"))
        user, group = values.get("user"), values.get("group")
        packages = str(values.get("packages", ""))
        self.account = Account(user, group, packages) if isinstance(user, int) and isinstance(group, int) else Account()
        self.account.packages = packages


def settings(node: str) -> Settings:
    folder = os.path.join(node, journal.FOLDER)
    return Settings(read(os.path.join(folder, "cupsfleet.json")), read(os.path.join(folder, "gate.json")), folder)


def read(path: str) -> dict[str, object]:
    """A file of JSON; nothing where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError):
        return {}


class Job:
    """The arguments of backend(7)."""

    def __init__(self, arguments: list[str]) -> None:
        self.id, self.user, self.title, copies, options = arguments[1:6]
        self.files = arguments[6:]
        self.options = parsed(options)
        self.uuid = self.options.get("job-uuid", "")
        self.queue = os.environ.get("PRINTER", "")
        self.driver = os.path.exists(os.environ.get("PPD", ""))
        self.documents = self.files or self._raw_documents()
        """Files to be counted; () where the document is what comes by standard input."""
        # Standard input holds the copies already; a file is sent so often.
        self.copies = max(1, int(copies)) if copies.isdigit() and self.documents else 1

    def _raw_documents(self) -> list[str]:
        """CUPS hands several documents of a raw queue on one behind the other; in its spool they can be told apart."""
        spool = os.environ.get("CUPS_REQUESTROOT", "")
        if self.driver or not self.id.isdigit():
            return []
        paths = (os.path.join(spool, f"d{int(self.id):05d}-{number:03d}") for number in range(1, 1000))
        found = []
        for path in paths:
            if not os.path.exists(path):
                break
            found.append(path)
        return found if len(found) > 1 else []

    def facts(self) -> dict[str, object]:
        return {
            "uuid": self.uuid,
            "job": int(self.id) if self.id.isdigit() else 0,
            "user": self.user,
            "queue": self.queue,
            "title": self.title[:255],
            "options": journal.kept(self.options),
            "driver": self.driver,
            "separately": self._printed_separately(),
            "copies": self.copies,
        }

    @property
    def size(self) -> int:
        """Bytes of all its documents that are files, copies included."""
        return self.copies * sum(os.stat(path).st_size for path in self.documents if os.path.exists(path))

    def _printed_separately(self) -> int:
        """How many documents the job has, if each is handed to a backend of its own (cupsSingleFile in the PPD)."""
        try:
            with open(os.environ.get("PPD", ""), "rb") as file:
                single = b"*cupsSingleFile: True" in file.read()
        except OSError:
            return 0
        return int(self.options.get("number-of-documents", "0")) if single else 0


def parsed(options: str) -> dict[str, str]:
    """The options argument: name=value with blanks between; quotes and backslashes protect blanks (cups/options.c)."""
    words: list[str] = []
    word, quote, escaped = "", "", False
    for letter in options:
        if escaped:
            word, escaped = word + letter, False
        elif letter == "\\":
            escaped = True
        elif quote:
            word, quote = (word, "") if letter == quote else (word + letter, quote)
        elif letter in "'\"":
            quote = letter
        elif letter == " ":
            words, word = [*words, word], ""
        else:
            word += letter
    pairs = (one.partition("=") for one in [*words, word] if one)
    return {name: value for name, _, value in pairs}


def main(node: str) -> int:
    """node: the folder of the node; it holds the backends in bin/backend, the settings and the journal in costs."""
    if len(sys.argv) == 1:
        return OK  # it finds no devices: it is put in front of them
    device = os.environ.get("DEVICE_URI", "").removeprefix(SCHEME)
    scheme = device.partition(":")[0]
    program = os.path.join(node, "bin", "backend", os.path.basename(scheme))
    if len(sys.argv) < 6 or not scheme or scheme == "cupsfleet" or not os.access(program, os.X_OK):
        tell("ERROR", f"there is no backend for the device {device!r}")
        return STOP
    return Attempt(Job(sys.argv), device, program, node).print()


class Attempt:
    """One attempt to print a job."""

    def __init__(self, job: Job, device: str, program: str, node: str) -> None:
        self.job, self.device, self.program, self.node = job, device, program, node
        self.settings = settings(node)
        self.run = f"{time.time_ns():x}-{os.getpid():x}"
        self.child = 0
        self.terminated = False
        self.said = Said(speaks_of_the_job(device))
        self.counter: Counter | None = None
        self.spool, self.unwritten = -1, b""
        """What was written down of standard input before it was sent, and what was read and found no room there; more
        comes after that. Where all was written down nothing more does."""
        self.counted: count.Count | None = None
        """None until it is written down."""
        self.progress = Progress()
        self.noted, self.noted_at = 0.0, 0.0
        """The share that was written down last, and when."""

    @property
    def account(self) -> Account:
        return self.settings.account

    def print(self) -> int:
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        if self.job.documents:
            kinds = [kind_of(path) for path in self.job.documents]
            self.counter = begin(self.account, kinds, self.job.documents)
        elif self.settings.gate:
            self._spool()
        if self.settings.gate:
            self.counted = self.result()
            if refusal := ask(self.settings, self.job, self.counted):
                self._journal_begin("held", reason=refusal)
                tell("JOBSTATE", refusal)
                tell("ERROR", f"The job is held: {REFUSALS.get(refusal, OTHER_REFUSAL)} ({refusal}).")
                return HOLD
        if self.terminated:
            return OK
        self._journal_begin("begin")
        status = self._have_printed()
        counted = None
        if self.counted is None and (self.counter is None or self.counter.ready(GRACE_SECONDS)):
            counted = self.counted = self.result()
        self._journal_end(os.waitstatus_to_exitcode(status), counted)
        if self.counted is None:  # that it was printed is not left in doubt until its pages are counted
            self.counted = self.result()
            self._journal({"event": "count", "count": self.counted.plain()})
        self._report(self.counted)
        return end_like(status, self.terminated)

    def _journal_begin(self, event: str, **more: object) -> None:
        counted = {"count": self.counted.plain()} if self.counted else {}
        self._journal({"event": event, "at": time.time(), **self.job.facts(), **counted, **more})

    def _journal_end(self, code: int, counted: count.Count | None) -> None:
        """counted: None where it is written down already, or will be."""
        whole = code == 0 and not self.terminated
        share = 1.0 if whole else round(self.progress.share, 4)
        result = {"status": code, "share": share, "whole": whole, "reported": self.said.total}
        self._journal({"event": "end", "at": time.time(), **result, "count": counted.plain() if counted else None})

    def note_count(self) -> None:
        """Write down the count that is there, while the real backend still prints."""
        self.counted = self.result()
        self.progress.look(self.child)
        self._journal({"event": "count", "count": self.counted.plain(), "share": round(self.progress.share, 4)})

    def note_progress(self) -> None:
        """Write down how much was taken, for the case that this process is killed."""
        self.progress.look(self.child)
        share, now = round(self.progress.share, 4), time.monotonic()
        if self.noted and (share < self.noted + NOTED_SHARE or now < self.noted_at + NOTED_SECONDS):
            return
        if share > self.noted:
            self.noted, self.noted_at = share, now
            self._journal({"event": "sent", "share": share}, sync=False)

    def result(self) -> count.Count:
        return self.counter.result() if self.counter else count.unknown("there was no document")

    def _spool(self) -> None:
        """Have standard input counted before any of it is sent."""
        try:
            self.spool = scratch(self.account)
            self.unwritten = spooled(self.spool)
        except OSError as error:
            self.counter = Uncounted(f"it could not be written down: {error.strerror}")
            return
        path = f"/proc/self/fd/{self.spool}"
        if self.unwritten:
            self.counter = Uncounted("there is no room to write it down")
        else:
            self.counter = begin(self.account, [kind_of(path)], [path], self.spool)

    def _have_printed(self) -> int:
        """Start the real backend, feed it, pass on what it says; returns its wait status."""
        said, says = os.pipe()
        stream, document = None, 0
        if self.job.files:
            self.progress = OfFile(self.job.files[0], self.job.copies, self.said)
        elif self.spool >= 0 and not self.unwritten:
            document = self.spool
            self.progress = OfSpool(self.spool)
        else:
            document, feed = os.pipe()
            self.progress = stream = OfPipe(feed, self.job.size)
        ours = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            self._become_backend(ours, document, says)
        os.close(says)
        if stream:
            os.close(document)
        if self.terminated:
            self._on_term(signal.SIGTERM, None)
        Pump(self, stream, said, self.spool if self.unwritten else -1, self.unwritten).run()
        self.progress.look(self.child)
        return os.waitpid(self.child, 0)[1]

    def _become_backend(self, parent: int, document: int, says: int) -> None:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            if document:
                os.dup2(document, 0)
            os.dup2(says, 2)
            if not runs_as_root(self.program):
                self.account.become()
            die_with_parent(parent)
            os.environ["DEVICE_URI"] = without_snmp(self.device)
            os.execv(self.program, [sys.argv[0].removeprefix(SCHEME), *sys.argv[1:]])
        except BaseException as error:
            tell("ERROR", f"{self.program} can't be run: {error}")
        os._exit(STOP)

    def _on_term(self, number: int, frame: object) -> None:
        self.terminated = True
        if self.child:
            self.progress.look(self.child)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGTERM)

    def _report(self, counted: count.Count) -> None:
        """Tell cupsd, which by itself counts one a copy for a raw queue."""
        pages = counted.pages * counted.copies * self.job.copies
        if pages and not (self.terminated or self.said.total):
            tell("PAGE", f"total {pages}")

    def _journal(self, record: dict[str, object], sync: bool = True) -> None:
        try:
            journal.append(self.node, {**record, "run": self.run}, sync)
        except OSError as error:
            tell("WARNING", f"the attempt could not be written down: {error}")


def ask(settings: Settings, job: Job, counted: count.Count) -> str:
    """Whether the job may be printed: '' or a job-state-reasons keyword. The controller's own answer, in JSON."""
    import socket

    question = {**job.facts(), "count": counted.plain()}
    place, name = os.path.split(settings.gate)
    try:
        # A socket's address holds 107 bytes, and its path may be longer.
        folder = os.open(place, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as gate:
                gate.settimeout(GATE_SECONDS)
                gate.connect(f"/proc/self/fd/{folder}/{name}")
                gate.sendall(json.dumps(question).encode() + b"\n")
                gate.shutdown(socket.SHUT_WR)
                answer = json.loads(gate.makefile("rb").read(65_536))
        finally:
            os.close(folder)
        return str(answer["reason"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        tell("WARNING", f"the controller can't be asked whether the account has a limit: {error}")
        return "" if settings.when_unreachable == "allow" else "account-authorization-failed"


def kind_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return count.sniff(file.read(count.HEAD_BYTES))
    except OSError:
        return count.OTHER


def spooled(handle: int) -> bytes:
    """Standard input into a file, which is read from its beginning then; returns what found no room there, after which
    more may come, and b'' where all did. Raises OSError."""
    while chunk := os.read(0, CHUNK):
        place = os.lseek(handle, 0, os.SEEK_CUR)
        try:
            write_all(handle, chunk)
        except OSError:
            os.ftruncate(handle, place)
            return chunk
    os.lseek(handle, 0, os.SEEK_SET)
    return b""


def runs_as_root(program: str) -> bool:
    """As cupsd decides it (scheduler/job.c: backroot)."""
    return not os.stat(program).st_mode & 0o023


def end_like(status: int, told: bool) -> int:
    """The real backend's exit code; ended by a signal, this process ends by the same one.

    Only where somebody killed it: cupsd takes a backend that SIGTERM or SIGKILL ended for one that it ended itself,
    and its job for printed (scheduler/main.c). One that was not told to stop has failed, and is tried again.
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGTERM, signal.SIGKILL) and not told:
            tell("ERROR", "The backend was killed.")
            return FAILED
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return os.waitstatus_to_exitcode(status)
