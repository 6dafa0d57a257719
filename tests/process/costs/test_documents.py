"""Real documents of each kind through the front door: what each was charged, beside what it had to be charged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.documents import A3, RED, pdf, rendered, text
from tests.fleets import running
from tests.process.costs.conftest import MODELS
from tests.process.costs.test_charging import entries
from tests.process.fleet import Fleet, eventually, with_password

PRICES = [
    {"colour": True, "printers": ["office", "pdf"], "per_page": "0.20"},
    {"sides": "two-sided", "per_page": "0.04"},
    {"media": ["iso_a3_*"], "per_page": "0.10"},
    {"per_page": "0.05"},
]
RAW = "office"
HAVE_A3 = ("postscript", "pcl")
"""Queues whose driver has that paper, and leaves copies to the printer."""
COPIES, DUPLEX, ON_A3 = ("-n", "3"), ("-o", "sides=two-sided-long-edge"), ("-o", "media=A3")


@dataclass(frozen=True)
class Case:
    queue: str
    document: str
    options: tuple[str, ...]
    pages: int
    sheets: int
    amount: Decimal

    @property
    def title(self) -> str:
        return " ".join([self.queue, self.document, *self.options])


@pytest.fixture(scope="module")
def offices() -> Iterator[Fleet]:
    """A raw queue, and one with each kind of driver."""
    queues = [{"name": RAW, "device": "virtual"}]
    queues += [{"name": name, "device": "virtual", "model": model} for name, model in MODELS.items()]
    environment = {"CUPSFLEET_PRINTERS": json.dumps(queues), "CUPSFLEET_COSTS__PRICES": json.dumps(PRICES)}
    with running(environment) as fleet:
        yield fleet


def cases(sizes: dict[str, int]) -> Iterator[Case]:
    for queue in (RAW, *MODELS):
        for document, pages in sizes.items():
            if queue != RAW and "raster" in document:
                continue  # no filter takes it
            if "A3" in document and queue not in (RAW, *HAVE_A3):
                continue  # their paper is what the driver makes of it
            if "colour" in document and queue not in (RAW, "pdf"):
                continue  # what other printers are sent does not say whether a page is grey
            price = Decimal("0.10") if "A3" in document else Decimal("0.20" if "colour" in document else "0.05")
            paper = ON_A3 if "A3" in document and queue != RAW else ()
            yield Case(queue, document, paper, pages, pages, pages * price)
            if pages <= 10:
                yield Case(queue, document, paper + COPIES, 3 * pages, 3 * pages, 3 * pages * price)
            if pages > 1 and not any(word in document for word in ("raster", "A3", "colour")):
                # (Drivers turn it off for a single page; raster that passes unchanged says by itself what it is.)
                yield Case(queue, document, DUPLEX, pages, (pages + 1) // 2, pages * Decimal("0.04"))
            if document == "7 pages PDF" and queue in (RAW, *HAVE_A3):  # each copy begins a sheet
                yield Case(queue, document, COPIES + DUPLEX, 21, 12, 21 * Decimal("0.04"))


def send(fleet: Fleet, case: Case, document: Path) -> None:
    raw = ("-o", "raw") if case.queue == RAW else ()
    command = ["lp", "-h", f"localhost:{fleet.port}", "-U", "demo", "-E", "-d", case.queue, "-t", case.title]
    code, said = with_password([*command, *case.options, *raw, str(document)], fleet.password())
    assert code == 0, said


@pytest.mark.timeout(400)
def test_each_document_is_charged_exactly(offices: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the table."""
    ten = pdf(tmp_path / "10.pdf", 10)
    documents = {
        "1 page PDF": (pdf(tmp_path / "1.pdf", 1), 1),
        "7 pages PDF": (pdf(tmp_path / "7.pdf", 7), 7),
        "10 pages PDF": (ten, 10),
        "10 pages PDF A3": (pdf(tmp_path / "a3.pdf", 10, A3), 10),
        "10 pages PDF in colour": (pdf(tmp_path / "red.pdf", 10, content=RED), 10),
        "300 pages PDF": (pdf(tmp_path / "300.pdf", 300), 300),
        "300 pages PDF A3": (pdf(tmp_path / "300a3.pdf", 300, A3), 300),
        "10 pages PostScript": (rendered("ps2write", ten, tmp_path / "10.ps"), 10),
        "10 pages PWG raster": (rendered("pwgraster", ten, tmp_path / "10.pwg"), 10),
        "100 lines of text": (text(tmp_path / "100.txt", 100), 2),
    }
    wanted = list(cases({name: pages for name, (_, pages) in documents.items()}))
    for case in wanted:
        send(offices, case, documents[case.document][0])
    charged = eventually(lambda: found if len(found := entries(offices)) >= len(wanted) else [], 240)
    by_title: dict[str, dict[str, Any]] = {one["title"]: one for one in charged}
    assert len(by_title) == len(charged) == len(wanted)
    assert {one["user"] for one in charged} == {"demo"}
    rows, wrong = [], []
    for case in wanted:
        one = by_title[case.title]
        found = (one["pages"], one["sheets"], Decimal(one["amount"]))
        expected = (case.pages, case.sheets, case.amount)
        said = [f"{pages} p. {sheets} sh. {amount:.2f}" for pages, sheets, amount in (expected, found)]
        rows.append(f"{case.title:62} {said[0]:24} {said[1]:24} {one['origin']}")
        if found != expected:
            wrong.append(rows[-1])
    with capsys.disabled():
        print(f"\n{'queue, document, options':62} {'expected':24} {'charged':24} origin", *rows, sep="\n")
    assert not wrong, "\n".join(wrong)
