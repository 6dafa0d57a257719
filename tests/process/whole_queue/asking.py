"""Questions about the whole queue of a fleet of five, asked by three people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from controller import processes
from tests.fleets import running
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import Fleet, eventually, with_password

PEOPLE = ("demo", "alice", "bob")
NODES = 5
GET_JOBS, GET_JOB, CANCEL_MY_JOBS, CANCEL_JOB, CANCEL_JOBS = 0x000A, 0x0009, 0x0039, 0x0008, 0x0038
HELD = b"\x02" + attribute(0x44, "job-hold-until", "indefinite")


def make_people(fleet: Fleet) -> None:
    for name in PEOPLE[1:]:
        fleet.done("user", "add", name, stdin=f"{name}-secret\n")
        with (fleet.state / "passwords").open("a") as known:
            known.write(f"{name} {name}-secret\n")
    eventually(lambda: all(fleet.ipp(ippwire.jobs_request(), name)[0] == 200 for name in PEOPLE))


def service(fleet: Fleet) -> int:
    """Process id of the service for the whole queue, once it runs."""

    def found() -> int | None:
        records = (fleet.state / "processes").glob("whole-queue-*.json")
        return next((pid for record in records if (pid := processes.recorded_pid(record))), None)

    pid = eventually(found)
    assert pid
    return pid


def serves(fleet: Fleet) -> bool:
    """Whether the edge sends questions to the service: nobody else answers this one."""
    return (
        fleet.ipp(ippwire.request(0x001C, ippwire.printer(), attribute(0x21, "notify-subscription-ids", 1)))[0] == 200
    )


@contextmanager
def five_nodes(environment: dict[str, str]) -> Iterator[Fleet]:
    with running({"CUPSFLEET_NODES__MIN": str(NODES), **environment}) as fleet:
        make_people(fleet)
        eventually(lambda: serves(fleet))
        yield fleet


def cancelled(fleet: Fleet, user: str) -> bool:
    return status(ask(fleet, CANCEL_MY_JOBS, user=user)) == 0


def ask(fleet: Fleet, operation: int, *attributes: bytes, user: str = "demo", groups: bytes = b"") -> bytes:
    """The IPP answer to a request on the queue `office`; b"" when there was none in IPP."""
    code, body = fleet.ipp(ippwire.request(operation, ippwire.printer(), *attributes, groups=groups), user)
    return body if code == 200 else b""


def status(answer: bytes) -> int:
    return ippwire.status(answer) if answer else -1


def create(fleet: Fleet, user: str, name: str) -> int:
    answer = ask(fleet, 0x0005, attribute(0x42, "job-name", name), user=user, groups=HELD)
    return ippwire.integers(answer, "job-id")[0]


def keyword(name: str, *values: str) -> bytes:
    return b"".join(attribute(0x44, name if place == 0 else "", value) for place, value in enumerate(values))


def integers(name: str, *values: int) -> bytes:
    return b"".join(attribute(0x21, name if place == 0 else "", value) for place, value in enumerate(values))


def listed(fleet: Fleet, *attributes: bytes, user: str = "demo") -> list[int]:
    answer = ask(fleet, GET_JOBS, *attributes, user=user)
    assert status(answer) == 0
    return ippwire.integers(answer, "job-id")


def program(fleet: Fleet, name: str, *arguments: str, user: str = "demo") -> tuple[int, str]:
    """A program of CUPS's that talks to the door."""
    return with_password([name, "-h", f"localhost:{fleet.port}", "-U", user, "-E", *arguments], fleet.password(user))


MINE = attribute(0x22, "my-jobs", b"\1")
