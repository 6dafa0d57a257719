"""From what stands on a server to what should: the calls, and what they are said to do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyipp.enums import IppStatus

from controller.nodes import queues
from controller.nodes.driver import NodeError
from controller.nodes.queues import Queue, declare, plan
from probes.attributes import Attributes
from probes.cups import Call, Token
from probes.errors import Refused

OFFICE = Queue("office", "socket://10.0.0.1:9100", options=(("sides", "two-sided-long-edge"),))


def standing(queue: Queue, **changes: int | str) -> Attributes:
    attributes: dict[str, int | str] = {
        "printer-name": queue.name,
        "device-uri": queue.device_uri,
        "printer-info": queue.info or queue.name,
        "printer-location": queue.location,
        "printer-is-shared": queue.shared,
        "printer-state": 3,
        "printer-is-accepting-jobs": True,
        "queued-job-count": 0,
        "printer-make-and-model": "Generic PDF Printer" if queue.model == "everywhere" else "Local Raw Printer",
        "cupsfleet-default": queue.mark,
    }
    return attributes | {name.replace("_", "-"): value for name, value in changes.items()}


def test_nothing_to_do() -> None:
    assert plan([OFFICE], {"office": standing(OFFICE)}) == ([], [])


def test_a_new_queue_is_marked_last_of_its_options() -> None:
    calls, words = plan([OFFICE], {})
    assert words == ["office: made"]
    methods = [call.method for call in calls]
    assert methods[:3] == ["addPrinter", "addPrinterOptionDefault", "addPrinterOptionDefault"]
    assert calls[2].arguments == ("office", "cupsfleet", OFFICE.mark)
    assert calls[0].options["ppdname"] == "raw"


def test_options_of_an_earlier_declaration_are_taken_back() -> None:
    calls, _ = plan([replace(OFFICE, options=(("media", "a4"),))], {"office": standing(OFFICE)})
    assert Call("deletePrinterOptionDefault", ("office", "sides")) in calls


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device_uri": "socket://other"}, "office: device corrected"),
        ({"printer_info": "x"}, "office: description corrected"),
        ({"printer_is_shared": False}, "office: sharing corrected"),
        ({"printer_state": 5}, "office: enabled"),
        ({"printer_is_accepting_jobs": False}, "office: accepts jobs"),
        ({"cupsfleet_default": ""}, "office: model and options set"),
    ],
)
def test_each_difference_is_corrected_and_said(change: dict[str, int | str], words: str) -> None:
    calls, said = plan([OFFICE], {"office": standing(OFFICE, **change)})
    assert said == [words]
    assert calls


def test_a_driverless_queue_takes_no_jobs_until_its_printer_has_described_itself() -> None:
    driverless = replace(OFFICE, device="ipp://10.0.0.1/ipp/print", model="everywhere")
    assert plan([driverless], {"office": standing(driverless)}) == ([], [])
    calls, _ = plan([driverless], {})
    assert "acceptJobs" not in {call.method for call in calls}
    calls, words = plan([driverless], {"office": standing(driverless, printer_make_and_model="Local Raw Printer")})
    assert words == ["office: its printer is asked again"]
    assert [call.method for call in calls] == ["addPrinter", "rejectJobs"]
    assert "ppdname" not in calls[0].options


def test_the_backend_in_front_comes_when_a_driverless_printer_has_described_itself() -> None:
    """cupsd asks the device that the queue has, so that must be the printer's own until then."""
    driverless = replace(OFFICE, device="ipp://10.0.0.1/ipp/print", model="everywhere", front="cupsfleet")
    unknown = standing(driverless, device_uri=driverless.device, printer_make_and_model="Local Raw Printer")
    answered = standing(driverless, device_uri=driverless.device)
    for seen, device in (
        (None, driverless.device),
        (unknown, driverless.device),
        (answered, "cupsfleet:/ipp://10.0.0.1/ipp/print"),
    ):
        [added] = [one for one in plan([driverless], {"office": seen} if seen else {})[0] if one.method == "addPrinter"]
        assert (added.options["device"], added.options.get("ppdname")) == (device, None)
    assert plan([driverless], {"office": standing(driverless)}) == ([], [])


@pytest.mark.parametrize("change", [{"options": ()}, {"info": "The new name"}, {"device": "ipp://10.0.0.2/ipp/print"}])
def test_a_driverless_printer_is_asked_again_when_it_is_another_one(change: dict[str, Any]) -> None:
    """What the old one said of itself is given up at once; other changes close no queue."""
    old = replace(OFFICE, device="ipp://10.0.0.1/ipp/print", model="everywhere", front="cupsfleet")
    calls, _ = plan([replace(old, **change)], {"office": standing(old)})
    models = [one.options.get("ppdname") for one in calls if one.method == "addPrinter"]
    assert models == (["raw"] if "device" in change else [None])
    assert ("rejectJobs" in {one.method for one in calls}) is ("device" in change)


def test_what_a_driver_said_is_no_description() -> None:
    driverless = replace(OFFICE, device="ipp://10.0.0.1/ipp/print", model="everywhere")
    driven = standing(replace(driverless, model="drv:///sample.drv/generic.ppd"), printer_make_and_model="Generic")
    calls, _ = plan([driverless], {"office": driven})
    assert [one.options["ppdname"] for one in calls if one.method == "addPrinter"] == ["raw"]


class AtOnce:
    """A thread that has ended when its start returns."""

    def __init__(self, target: Callable[..., None], args: tuple[Queue], daemon: bool) -> None:
        self.target, self.args = target, args

    def start(self) -> None:
        self.target(*self.args)


@pytest.mark.parametrize("status", [IppStatus.ERROR_DEVICE, IppStatus.ERROR_INTERNAL])
def test_a_driverless_printer_that_is_off_keeps_no_other_queue_from_being_made(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUPS 2.4.10 answers the one who adds such a queue when the printer has, and with an error when it has not."""
    driverless = Queue("mfp", "ipp://10.0.0.1/ipp/print", model="everywhere")
    made: list[str] = []

    def call(host: str, port: int, token: Token, calls: list[Call], deadline: float) -> None:
        if any(one.options.get("ppdname") == "everywhere" for one in calls):
            raise Refused("the printer does not answer", status)
        made.extend(one.arguments[0] for one in calls if one.method == "addPrinter")

    monkeypatch.setattr(queues, "call", call)
    monkeypatch.setattr(queues, "_standing", lambda *_: {})
    monkeypatch.setattr(queues, "DESCRIBE_SECONDS", 0.0)
    monkeypatch.setattr("threading.Thread", AtOnce)
    off = status == IppStatus.ERROR_DEVICE
    with nullcontext() if off else pytest.raises(NodeError, match="does not answer"):
        assert declare("localhost", 631, Token("root"), [driverless, OFFICE], 10) == ["mfp: made", "office: made"]
    assert made == ["mfp", "office"]


def test_queues_of_ours_take_no_more_jobs_before_they_are_removed() -> None:
    servers = {
        "open": standing(replace(OFFICE, name="open")),
        "idle": standing(replace(OFFICE, name="idle"), printer_is_accepting_jobs=0),
        "busy": standing(replace(OFFICE, name="busy"), printer_is_accepting_jobs=0, queued_job_count=1),
        "theirs": standing(replace(OFFICE, name="theirs"), cupsfleet_default=""),
        "OFFICE": standing(replace(OFFICE, name="OFFICE")),
    }
    calls, _ = plan([OFFICE], servers | {"office": standing(OFFICE)})
    assert calls == [Call("rejectJobs", ("open",)), Call("deletePrinter", ("idle",))]


def test_a_changed_ppd_file_changes_the_mark(tmp_path: Path) -> None:
    ppd = tmp_path / "a.ppd"
    ppd.write_text("one")
    queue = replace(OFFICE, model=str(ppd))
    before = queue.mark
    ppd.write_text("two")
    assert queue.mark != before
    ppd.unlink()
    with pytest.raises(NodeError, match=r"a\.ppd"):
        plan([queue], {})
