"""Print queues as they should be, and making a server's queues so.

What a queue was made from can't be read back from a server (a PPD changes on its way in), so each queue of ours
carries a mark: a default option `cupsfleet` with a fingerprint of its declaration and the names of the options that
were set. The mark also tells our queues from others: only marked ones are ever removed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyipp.enums import IppOperation, IppStatus

from controller.config_values import EVERYWHERE
from controller.nodes.driver import NodeError
from probes import ipp
from probes.attributes import Attributes, number, text
from probes.cups import Call, Token, call
from probes.errors import ProbeError, Refused
from probes.ipp import Request

MARK = "cupsfleet"
DESCRIBE_SECONDS = 5.0
"""How long a declaration waits for such a printer; cupsd asks it for up to 30 s."""
_NO_MODEL = ("", "Local Raw Printer", "Remote Printer")
"""What a queue without a PPD calls its printer (scheduler/printers.c, load_ppd)."""
_STOPPED = 5
_DNS_SD = "._tcp"
"""In devices that are found by DNS-SD (scheduler/ipp.c, create_local_bg_thread)."""
_QUEUE_PATHS = ("/printers/", "/classes/")
_ATTRIBUTES = (
    "printer-name device-uri printer-info printer-location printer-is-shared printer-state "
    f"printer-is-accepting-jobs queued-job-count printer-make-and-model printer-state-message {MARK}-default"
).split()


@dataclass(frozen=True)
class Queue:
    """model: `raw`, EVERYWHERE (a driverless IPP printer), an absolute PPD path, or a name from `lpinfo -m`."""

    name: str
    device: str
    model: str = "raw"
    options: tuple[tuple[str, str], ...] = ()
    """Default job options."""
    info: str = ""
    location: str = ""
    shared: bool = True
    """Must be true where the proxy is not on the node's own machine."""
    front: str = ""
    """A backend of the node's own that stands before the device, '' for none."""

    @property
    def device_uri(self) -> str:
        """What the server prints to, once it knows all that it asks the device itself."""
        return f"{self.front}:/{self.device}" if self.front else self.device

    @property
    def leads_to_queue(self) -> bool:
        """Whether the server has, or once had, another server's queue for its device; CUPS shares such a one as
        DefaultShared says, and for good (scheduler/printers.c, load_ppd: CUPS_PRINTER_REMOTE)."""
        scheme, _, rest = self.device.partition("://")
        led = scheme in ("ipp", "ipps", "http", "https") and f"/{rest.partition('/')[2]}".startswith(_QUEUE_PATHS)
        return led and (self.model == EVERYWHERE or (self.model == "raw" and not self.front))

    def described(self, now: Attributes) -> bool:
        """Whether the server knows what it needs to convert documents: of a driverless printer it asks that itself,
        after it has made the queue, and passes documents on as they come until then. What another printer said of
        itself, or a driver of before, does not count; a name in DNS-SD is replaced by what it leads to."""
        return self.model != EVERYWHERE or (
            text(now, "printer-make-and-model") not in _NO_MODEL
            and text(now, f"{MARK}-default").startswith(self._model_mark)
            and (text(now, "device-uri") in (self.device, self.device_uri) or _DNS_SD in self.device)
        )

    @property
    def mark(self) -> str:
        """Changes with everything that is not compared attribute by attribute. Raises NodeError: PPD unreadable."""
        names = "+".join(name for name, _ in self.options)
        return f"{self._model_mark}{_digest(repr(self.options).encode())}:{names}"[:255]

    @property
    def _model_mark(self) -> str:
        return f"{_digest(self.model.encode() + _ppd(self.model))}-"


def declare(host: str, port: int, token: Token, queues: Sequence[Queue], deadline: float) -> list[str]:
    """Make the server's queues as declared; returns what was changed, in words. Idempotent; cheap if all is right.

    Queues of ours that are declared no longer take no more jobs, and a later call removes them when they have none.
    One whose printer has not described itself takes no jobs, and a later call asks the printer again.
    deadline: seconds for each exchange. Raises NodeError.
    """
    try:
        standing = _standing(host, port, token, deadline)
        calls, words = plan(queues, standing)
        if calls:
            call(host, port, token, calls, deadline)
        if silent := [queue for queue in queues if not queue.described(standing.get(queue.name, {}))]:
            failures = _ask_beside(host, port, token, silent, deadline)
            words += _open_described(host, port, token, queues, deadline)
            if failures:
                raise failures[0]
    except ProbeError as error:
        raise NodeError(f"the queues could not be set up: {error}") from error
    return words


def _ask_beside(host: str, port: int, token: Token, queues: Iterable[Queue], deadline: float) -> list[ProbeError]:
    """Have the printers of driverless queues describe themselves, and wait for none: cupsd answers at once (2.4.2) or
    when the printer has (2.4.10, scheduler/ipp.c, add_printer). The list gets what goes wrong; a printer that can't be
    reached is nothing of that kind."""
    failures: list[ProbeError] = []

    def ask(queue: Queue) -> None:
        try:
            call(host, port, token, [_add(queue, queue.device, EVERYWHERE)], deadline)
        except ProbeError as error:
            if not (isinstance(error, Refused) and error.status == IppStatus.ERROR_DEVICE):
                failures.append(error)

    for queue in queues:
        threading.Thread(target=ask, args=(queue,), daemon=True).start()
    return failures


def _open_described(host: str, port: int, token: Token, queues: Sequence[Queue], deadline: float) -> list[str]:
    """Wait for printers that describe themselves, and let in jobs for those that did; what was done, in words."""
    until = time.monotonic() + DESCRIBE_SECONDS
    while True:
        standing = _standing(host, port, token, deadline)
        silent = [queue for queue in queues if not queue.described(standing.get(queue.name, {}))]
        if not silent or time.monotonic() > until:
            break
        time.sleep(0.1)
    calls, words = _corrected([queue for queue in queues if queue not in silent and queue.name in standing], standing)
    if calls:
        call(host, port, token, calls, deadline)
    return words


def undescribed(host: str, port: int, token: Token, queues: Iterable[Queue], deadline: float) -> tuple[str, ...]:
    """A sentence for each queue whose printer has not described itself. Raises NodeError."""
    standing = _seen(host, port, token, deadline)
    return tuple(
        f"{queue.name} takes no jobs yet, for its printer at {queue.device} has not described itself"
        + (f" ({said})" if (said := text(standing.get(queue.name, {}), "printer-state-message")) else "")
        for queue in queues
        if not queue.described(standing.get(queue.name, {}))
    )


def missing(host: str, port: int, token: Token, queues: Iterable[Queue], deadline: float) -> tuple[str, ...]:
    """Names of declared queues that are absent or take no jobs. Raises NodeError."""
    standing = _seen(host, port, token, deadline)
    return tuple(
        queue.name for queue in queues if not number(standing.get(queue.name, {}), "printer-is-accepting-jobs")
    )


def plan(queues: Sequence[Queue], standing: dict[str, Attributes]) -> tuple[list[Call], list[str]]:
    """The calls that lead from the standing queues to the declared ones, and what they do in words. Pure but for
    reading PPD files."""
    calls, words = _corrected(queues, standing)
    for name in _surplus(queues, standing):
        step, said = _give_up(name, standing[name])
        calls += step
        words += said
    return calls, words


def _corrected(queues: Iterable[Queue], standing: dict[str, Attributes]) -> tuple[list[Call], list[str]]:
    calls: list[Call] = []
    words: list[str] = []
    for queue in queues:
        steps, said = _correct(queue, standing.get(queue.name))
        calls += steps
        words += [f"{queue.name}: {', '.join(said)}"] if said else []
    return calls, words


def left_over(host: str, port: int, token: Token, queues: Sequence[Queue], deadline: float) -> tuple[str, ...]:
    """Names of queues of ours that are declared no longer and still stand. Raises NodeError."""
    return tuple(_surplus(queues, _seen(host, port, token, deadline)))


def _give_up(name: str, now: Attributes) -> tuple[list[Call], list[str]]:
    """First no more jobs, then, at a later look that finds none, no queue: a job that slips in between is kept."""
    if number(now, "printer-is-accepting-jobs"):
        return [Call("rejectJobs", (name,))], [f"{name}: takes no more jobs, for it is declared no longer"]
    if number(now, "queued-job-count"):
        return [], []
    return [Call("deletePrinter", (name,))], [f"{name}: removed, for it is declared no longer"]


def _correct(queue: Queue, standing: Attributes | None) -> tuple[list[Call], list[str]]:
    now = standing or {}
    old_mark = text(now, f"{MARK}-default")
    remade = standing is None or old_mark != queue.mark
    described = queue.described(now)
    differing = [
        word
        for word, name, wanted in (
            ("device", "device-uri", queue.device_uri if described else queue.device),
            ("description", "printer-info", queue.info or queue.name),
            ("location", "printer-location", queue.location),
        )
        if text(now, name) != wanted
    ]
    calls: list[Call] = []
    words: list[str] = []
    if remade:
        calls += [*_set_up(queue, now), *_options(queue, old_mark)]
        words.append("made" if standing is None else "model and options set")
    elif differing or not described:
        calls += _set_up(queue, now) if not described else [_add(queue, queue.device_uri)]
        words += [f"{word} corrected" for word in differing] or ["its printer is asked again"]
    if not queue.leads_to_queue and (standing is None or bool(number(now, "printer-is-shared")) != queue.shared):
        calls.append(Call("setPrinterShared", (queue.name, queue.shared)))
        words += ["sharing corrected"] if standing else []
    if standing is None or number(now, "printer-state") == _STOPPED:
        calls.append(Call("enablePrinter", (queue.name,)))
        words += ["enabled"] if standing else []
    if described and (standing is None or not number(now, "printer-is-accepting-jobs")):
        calls.append(Call("acceptJobs", (queue.name,)))
        words += ["accepts jobs"] if standing else []
    elif not described and number(now, "printer-is-accepting-jobs"):
        calls.append(Call("rejectJobs", (queue.name,)))
    return calls, words


def _set_up(queue: Queue, now: Attributes) -> list[Call]:
    """Device and model. A driverless printer is asked apart, under its own name, and what is known of another one is
    given up before: the backend in front comes when it has answered. While it is described it is not asked again."""
    if queue.model != EVERYWHERE:
        return [_add(queue, queue.device_uri, queue.model)]
    if queue.described(now):
        return [_add(queue, queue.device_uri)]
    stale = text(now, "printer-make-and-model") not in _NO_MODEL
    return [_add(queue, queue.device, "raw" if stale else "")]


def _add(queue: Queue, device: str, model: str = "") -> Call:
    """model: '' leaves it as it is."""
    options = {"device": device, "info": queue.info or queue.name, "location": queue.location}
    if model:
        options |= {"filename": model} if model.startswith("/") else {"ppdname": model}
    return Call("addPrinter", (queue.name,), options)


def _options(queue: Queue, old_mark: str) -> list[Call]:
    """Set the default options, take back those of an earlier declaration, and last of all set the mark."""
    names = {name for name, _ in queue.options}
    old = [name for name in old_mark.partition(":")[2].split("+") if name and name not in names]
    return [
        *(Call("deletePrinterOptionDefault", (queue.name, name)) for name in old),
        *(Call("addPrinterOptionDefault", (queue.name, name, value)) for name, value in queue.options),
        Call("addPrinterOptionDefault", (queue.name, MARK, queue.mark)),
    ]


def _surplus(queues: Sequence[Queue], standing: dict[str, Attributes]) -> list[str]:
    """Standing queues of ours that are not declared."""
    wanted = {queue.name.lower() for queue in queues}  # CUPS folds the case of names
    return [name for name, now in standing.items() if text(now, f"{MARK}-default") and name.lower() not in wanted]


def _seen(host: str, port: int, token: Token, deadline: float) -> dict[str, Attributes]:
    try:
        return _standing(host, port, token, deadline)
    except ProbeError as error:
        raise NodeError(f"the queues could not be read: {error}") from error


def _standing(host: str, port: int, token: Token, deadline: float) -> dict[str, Attributes]:
    server = ipp.Server(token.host or host, port, token.user, token.tls)
    request = Request(IppOperation.CUPS_GET_PRINTERS, {"requested-attributes": _ATTRIBUTES})
    printers = ipp.question(server, request, deadline)["printers"]
    return {text(printer, "printer-name"): printer for printer in printers}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _ppd(model: str) -> bytes:
    if not model.startswith("/"):
        return b""
    try:
        return Path(model).read_bytes()
    except OSError as error:
        raise NodeError(f"the PPD file {model} can't be read: {error.strerror}") from error
