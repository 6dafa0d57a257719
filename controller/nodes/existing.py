"""Nodes that somebody else runs: a CUPS server at HOST:PORT, checked but never started, stopped or changed.

`start` asks the server what a fleet needs of it. What is missing is told as numbered steps for that server.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyipp.enums import IppOperation

from controller.nodes import settings
from controller.nodes.driver import NodeError, NodeSpec
from controller.nodes.proof import OWNER, proof_job
from haproxy.model import SLOT_IDS, first_id, slot_of
from probes import ipp
from probes.attributes import number, text
from probes.cups import Token
from probes.errors import Overdue, ProbeError, Unreachable
from probes.ipp import Request

CHECK_SECONDS = 3.0
"""Deadline of each question."""


@dataclass(frozen=True)
class ExistingDriver:
    """Implements controller.nodes.driver.Driver.

    host_header: the host that the edge sends. proxies: addresses that the server has to let in (for the steps only;
    what is checked is the connection from here). user, password: an administrator of the server, if the fleet shall
    make its queues. verify: insist on a certificate that the system's authorities vouch for.
    """

    host_header: str = "localhost"
    proxies: tuple[str, ...] = ()
    user: str = "cupsfleet"
    password: str | None = None
    tls: bool = False
    verify: bool = False

    @property
    def owns_queues(self) -> bool:
        return self.password is not None

    def start(self, spec: NodeSpec) -> None:
        """Check the server. Raises NodeError with the steps that it still needs."""
        server = ipp.Server(spec.host, spec.port, OWNER, self.tls, self.verify)
        headers = {"Host": f"{self.host_header}:{spec.port}"}
        queue = self._some_queue(spec, server, headers)
        try:
            given = proof_job(server, queue, CHECK_SECONDS, headers)
        except NodeError as error:
            raise self._needs(spec, str(error), _access_steps(spec, self.proxies)) from error
        if slot_of(given) != spec.slot:
            saw = f"its jobs are numbered {given}, but slot {spec.slot} owns {first_id(spec.slot)} and above"
            raise self._needs(spec, saw, _number_steps(max(spec.next_id, first_id(spec.slot)), spec.slot))

    def alive(self, spec: NodeSpec) -> bool | None:
        return None

    def token(self, spec: NodeSpec) -> Token:
        return Token(self.user, password=self.password, tls=self.tls)

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
        except (Unreachable, Overdue) as error:
            raise self._needs(spec, str(error), _reach_steps(spec, self.proxies, self.tls)) from error
        except ProbeError as error:
            raise self._needs(spec, str(error), _access_steps(spec, self.proxies)) from error
        near = settings.is_loopback(spec.host)
        for queue in queues:
            usable = near or number(queue, "printer-is-shared")  # others see shared queues only
            if number(queue, "printer-is-accepting-jobs") and usable:
                return text(queue, "printer-name")
        raise self._needs(spec, "no shared queue of it takes jobs", _queue_steps())

    def _needs(self, spec: NodeSpec, saw: str, steps: list[str]) -> NodeError:
        numbered = "\n".join(f"  {place}. {step}" for place, step in enumerate(steps, 1))
        again = f"  {len(steps) + 1}. here: cupsfleet add {spec.host}:{spec.port}"
        return NodeError(
            f"the CUPS server at {spec.host}:{spec.port} can't serve in slot {spec.slot} yet: {saw}.\n"
            f"On that server, as root:\n{numbered}\n{again}"
        )


def _reach_steps(spec: NodeSpec, proxies: tuple[str, ...], tls: bool) -> list[str]:
    listen = f"/etc/cups/cupsd.conf must hold the line `Listen {_bracketed(spec.host)}:{spec.port}`"
    steps = [listen, "systemctl disable --now cups.socket cups.path && systemctl restart cups"]
    if tls:
        steps.insert(1, "ls -ld /etc/cups/ssl must show drwx------: chmod 700 /etc/cups/ssl")
    who = ", ".join(proxies) or "this machine and every proxy"
    return [*steps, f"let {who} reach TCP port {spec.port} through its firewall"]


def _access_steps(spec: NodeSpec, proxies: tuple[str, ...]) -> list[str]:
    allow = ", ".join(f"`Allow from {address}`" for address in proxies) or "`Allow from ADDRESS` for each proxy"
    return [
        "in /etc/cups/cupsd.conf write `ServerAlias *` and `DefaultEncryption IfRequested`",
        f"in its `<Location />` write `Order allow,deny`, `Allow from localhost`, {allow}",
        "in its `<Policy default>` the <Limit> with Cancel-Job, and the one with Hold-Job, must hold "
        "`AuthType None` and `Require user @OWNER @SYSTEM`; the one with Create-Job and Print-Job no Require line",
        "lpstat -v must show the queues; for each: lpadmin -p QUEUE -o printer-is-shared=true "
        "-o printer-op-policy=default && cupsenable QUEUE && cupsaccept QUEUE",
        "systemctl restart cups",
    ]


def _number_steps(next_id: int, slot: int) -> list[str]:
    return [
        f"wait until `lpstat -o` shows no job: those below {first_id(slot)} could not be found behind the fleet",
        "systemctl stop cups.socket cups.path cups",
        "grep -v '^NextJobId' /var/cache/cups/job.cache > /tmp/job.cache; "
        f"(echo 'NextJobId {next_id}'; cat /tmp/job.cache) > /var/cache/cups/job.cache",
        "grep -v '^NextSubscriptionId' /etc/cups/subscriptions.conf > /tmp/subscriptions.conf; "
        f"(echo 'NextSubscriptionId {next_id}'; cat /tmp/subscriptions.conf) > /etc/cups/subscriptions.conf",
        "in /etc/cups/cupsd.conf write `DirtyCleanInterval 0` and `IdleExitTimeout 0`, so that a crash loses no job",
        f"systemctl start cups (its job ids up to {(slot + 1) * SLOT_IDS} belong to this slot)",
    ]


def _queue_steps() -> list[str]:
    return [
        "lpadmin -p QUEUE -v DEVICE -m everywhere -o printer-is-shared=true -E, for each queue of the fleet "
        "(`lpinfo -v` lists devices); or give the fleet an administrator's name and password",
    ]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
