"""Those who print in a fault campaign, and what each was told."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from dataclasses import dataclass, field

from benchmarks.verdict import Told
from benchmarks.watch import address_of
from tests.process.edge import ippwire
from tests.process.edge.door import Client
from tests.process.fleet import Fleet

HELD = 0.05
"""Share of the documents that are held until the end, on whichever nodes that leads them through."""
USERS = ("demo", "alice", "bob", "carol")
PASSWORD = "campaign"


@dataclass
class Person:
    """A client with its own connection, who prints one document after another and remembers what was said."""

    number: int
    user: str
    client: Client
    chance: random.Random
    told: list[Told] = field(default_factory=list)

    def work(self, over: threading.Event, pause: float) -> None:
        while not over.is_set():
            self._print(f"{self.number}-{len(self.told) + 1}")
            over.wait(self.chance.uniform(0.5, 1.5) * pause)

    def _print(self, name: str) -> None:
        document = f"document {name}\n".encode() + self.chance.randbytes(self.chance.randint(50, 2000)).hex().encode()
        title = ippwire.attribute(0x42, "job-name", name)
        last = self.told[-1] if self.told else None
        told = Told(name, self.user, time.monotonic(), digest=hashlib.sha256(document).hexdigest())
        told.connected = last.ended if last and last.answered else told.started
        self.told.append(told)
        held = self.chance.random() < HELD
        hold = ippwire.JOB + ippwire.attribute(0x44, "job-hold-until", "indefinite") if held else b""
        try:
            if held or self.chance.random() < 0.8:
                told.take(self.client.send(ippwire.print_job(title, groups=hold, document=document)))
            else:
                told.take(self.client.send(ippwire.request(0x0005, ippwire.printer(), title)))
                if told.job:
                    told.take(self.client.send(_send_document(told.job, document)))
        except Exception as error:
            told.failed(repr(error))


def _send_document(job: int, document: bytes) -> bytes:
    number = ippwire.attribute(0x21, "job-id", job)
    kind = ippwire.attribute(0x49, "document-format", "application/octet-stream")
    last = ippwire.attribute(0x22, "last-document", b"\x01")
    return ippwire.request(0x0006, ippwire.printer(), number, kind, last) + document


def crowd(fleet: Fleet, clients: int, seed: int) -> list[Person]:
    """Users of the fleet, some of them at several clients."""
    passwords = dict.fromkeys(USERS, PASSWORD) | {"demo": fleet.password()}
    people = []
    for number in range(clients):
        user = USERS[number % len(USERS)]
        client = Client(fleet.port, user, passwords[user], timeout=90, source=address_of(number))
        people.append(Person(number, user, client, random.Random(f"{seed}-{number}")))
    return people
