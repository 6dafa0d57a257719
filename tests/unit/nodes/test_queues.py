"""From what stands on a server to what should: the calls, and what they are said to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.nodes.driver import NodeError
from controller.nodes.queues import Queue, plan
from probes.attributes import Attributes
from probes.cups import Call

OFFICE = Queue("office", "socket://10.0.0.1:9100", options=(("sides", "two-sided-long-edge"),))


def standing(queue: Queue, **changes: int | str) -> Attributes:
    attributes: dict[str, int | str] = {
        "printer-name": queue.name,
        "device-uri": queue.device,
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
    assert calls[0].options["ppdname"] == "everywhere"


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
