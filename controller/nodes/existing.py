"""Nodes that somebody else runs: a CUPS server at HOST:PORT, checked but never started, stopped or changed.

`start` asks the server what a fleet needs of it. What is missing is told as numbered steps for that server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyipp.enums import IppOperation

from controller.nodes import settings
from controller.nodes.driver import NodeError, NodeSpec
from controller.nodes.proof import OWNER, held_job
from controller.nodes.queues import Queue
from haproxy.model import SLOT_IDS, first_id, slot_of
from probes import ipp
from probes.attributes import number, text
from probes.cups import Token
from probes.errors import ProbeError, Refused, Unintelligible
from probes.ipp import Request

CHECK_SECONDS = 3.0
"""Deadline of each question."""


@dataclass(frozen=True)
class ExistingDriver:
    """Implements controller.nodes.driver.Driver.

    host_header: the host that the edge sends. proxies: addresses that the server has to let in (for the steps only;
    what is checked is the connection from here). user: as whom it is asked. tls: whether the prober speaks it too; the
    edge does. verify: insist on a certificate that the system's authorities vouch for.
    """

    host_header: str = "localhost"
    proxies: tuple[str, ...] = ()
    user: str = "cupsfleet"
    tls: bool = False
    verify: bool = False

    @property
    def owns_queues(self) -> bool:
        return False

    def queue(self, queue: Queue) -> Queue:
        """As it is: the server has no backend of ours."""
        return queue

    def start(self, spec: NodeSpec) -> None:
        """Check the server. Raises NodeError with the steps that it still needs."""
        server = ipp.Server(spec.host, spec.port, OWNER, self.tls, self.verify)
        headers = {"Host": f"{self.host_header}:{spec.port}"}
        queue = self._some_queue(spec, server, headers)
        try:
            given = held_job(replace(server, tls=True), queue, CHECK_SECONDS, headers)
        except NodeError as error:
            refused = isinstance(error.__cause__, Refused)
            steps = _access_steps(self.proxies) if refused else _tls_steps()
            raise self._needs(spec, str(error), steps) from error
        if slot_of(given) != spec.slot:
            saw = f"{server} numbers its jobs {given}, but slot {spec.slot} owns {first_id(spec.slot)} and above"
            raise self._needs(spec, saw, _number_steps(max(spec.next_id, first_id(spec.slot)), spec.slot))

    def alive(self, spec: NodeSpec) -> bool | None:
        return None

    def room(self, spec: NodeSpec) -> None:
        return None

    def outdated(self, spec: NodeSpec) -> bool:
        return False

    def token(self, spec: NodeSpec) -> Token:
        return Token(self.user, tls=self.tls)

    def highest_id(self, spec: NodeSpec) -> int:
        return 0

    def stop(self, spec: NodeSpec) -> None:
        """Nothing: the server is not ours."""

    def remove(self, spec: NodeSpec) -> None:
        """Nothing: the server is not ours."""

    def _some_queue(self, spec: NodeSpec, server: ipp.Server, headers: dict[str, str]) -> str:
        """A queue that takes jobs. Its absence is an error: without one there is no proof."""
        wanted = {"requested-attributes": ["printer-name", "printer-is-accepting-jobs", "printer-is-shared"]}
        request = Request(IppOperation.CUPS_GET_PRINTERS, wanted)
        try:
            queues = ipp.question(server, request, CHECK_SECONDS, headers)["printers"]
        except Refused as error:
            raise self._needs(spec, str(error), _access_steps(self.proxies)) from error
        except Unintelligible as error:
            raise self._needs(spec, str(error), _stranger_steps(spec)) from error
        except ProbeError as error:
            raise self._needs(spec, str(error), _reach_steps(spec, self.proxies)) from error
        near = settings.is_loopback(spec.host)
        for queue in queues:
            usable = near or number(queue, "printer-is-shared")  # others see shared queues only
            if number(queue, "printer-is-accepting-jobs") and usable:
                return text(queue, "printer-name")
        raise self._needs(spec, f"{server} has no shared queue that takes jobs", _queue_steps())

    def _needs(self, spec: NodeSpec, saw: str, steps: list[str]) -> NodeError:
        numbered = "\n".join(f"  {place}. {step}" for place, step in enumerate(steps, 1))
        again = f"  {len(steps) + 1}. wait a minute: the check is tried again by itself"
        return NodeError(
            f"the CUPS server of {spec.name} can't serve in slot {spec.slot} yet: {saw}.\n"
            f"On that server, as root:\n{numbered}\n{again}"
        )


def _reach_steps(spec: NodeSpec, proxies: tuple[str, ...]) -> list[str]:
    who = ", ".join(proxies) or "this machine and every proxy"
    return [
        f"in /etc/cups/cupsd.conf write `Listen {_bracketed(spec.host)}:{spec.port}` and `IdleExitTimeout 0`",
        "systemctl enable cups && systemctl restart cups",
        f"let {who} reach TCP port {spec.port} through its firewall",
    ]


def _stranger_steps(spec: NodeSpec) -> list[str]:
    return [
        f"ss -ltnp 'sport = :{spec.port}' must show cupsd: end the other program, or add the server under its own port",
    ]


def _access_steps(proxies: tuple[str, ...]) -> list[str]:
    allow = ", ".join(f"`Allow from {address}`" for address in proxies) or "`Allow from ADDRESS` for each proxy"
    return [
        "in /etc/cups/cupsd.conf write `ServerAlias *` and `DefaultEncryption IfRequested`",
        f"in its `<Location />` write `Order allow,deny`, `Allow from localhost`, {allow}",
        "in its `<Policy default>` the <Limit> with Create-Job must hold neither AuthType nor Require, those with "
        "Hold-Job and with Cancel-Job no AuthType but `Require user @OWNER @SYSTEM`, as in /usr/share/cups/"
        "cupsd.conf.default",
        "systemctl restart cups",
        "lpstat -v must show the queues; for each: lpadmin -p QUEUE -o printer-is-shared=true "
        "-o printer-op-policy=default && cupsenable QUEUE && cupsaccept QUEUE",
    ]


def _tls_steps() -> list[str]:
    return [
        "ls -ld /etc/cups/ssl must show drwx------ and root: mkdir -p /etc/cups/ssl && chown root /etc/cups/ssl && "
        "chmod 700 /etc/cups/ssl",
        "in /etc/cups/cupsd.conf write `DefaultEncryption IfRequested`, and no SSLOptions",
        "systemctl restart cups",
    ]


def _number_steps(next_id: int, slot: int) -> list[str]:
    return [
        f"wait until `lpstat -o` shows no job: those below {first_id(slot)} could not be found behind the fleet",
        "systemctl stop cups.path cups.socket cups",
        _counter_step("/var/cache/cups/job.cache", "NextJobId", next_id),
        _counter_step("/etc/cups/subscriptions.conf", "NextSubscriptionId", next_id),
        "in /etc/cups/cupsd.conf write `DirtyCleanInterval 0` and `IdleExitTimeout 0`, so that a crash loses no job",
        f"systemctl start cups.path cups (its job ids up to {(slot + 1) * SLOT_IDS} belong to this slot)",
    ]


def _counter_step(file: str, word: str, value: int) -> str:
    """Works without the file too. The new one is made beside the old, where nobody but root may write."""
    return f"(echo '{word} {value}'; grep -sv '^{word}' {file}) > {file}.new; mv {file}.new {file}"


def _queue_steps() -> list[str]:
    return [
        "lpadmin -p QUEUE -v DEVICE -m MODEL -o printer-is-shared=true -E, for each queue of the fleet (`lpinfo -v` "
        "lists devices, `lpinfo -m` models; `everywhere` fits printers that speak IPP)",
    ]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
