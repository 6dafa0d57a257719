"""What an administrator deletes or takes away by mistake: the fleet keeps the jobs, or says what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pyipp.enums import IppOperation
from pyipp.parser import parse

from machine.files import replace_file
from machine.identity import identity_of, read_record
from tests.process.fleet import Fleet, encode, eventually

PRINTERS = """
[[printers]]
name = "office"
device = "virtual"
"""
ATTIC = """
[[printers]]
name = "attic"
device = "virtual"
"""


def held(fleet: Fleet, text: bytes, queue: str = "office") -> int:
    """The id of a new job that is whole and waits for its release."""
    target = {"printer-uri": f"ipp://localhost/printers/{queue}", "document-format": "text/plain"}
    created = fleet.ipp(encode(IppOperation.PRINT_JOB, target, {"job-hold-until": "indefinite"}) + text)[1]
    job: int = parse(created)["jobs"][0]["job-id"]
    eventually(lambda: [one["size_kb"] for one in jobs(fleet) if one["id"] == job] == [1], 40)
    return job


def release(fleet: Fleet, job: int) -> None:
    fleet.ipp(encode(IppOperation.RELEASE_JOB, {"job-id": job}))


def jobs(fleet: Fleet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.done("jobs", "--json"))
    return found


def delete_database(fleet: Fleet) -> None:
    for path in fleet.state.glob("cupsfleet.db*"):
        path.unlink()


def test_a_database_that_is_deleted_under_the_controller_is_written_again(own_fleet: Fleet) -> None:
    own_fleet.up()
    job = held(own_fleet, b"kept\n")
    nodes = [(node["name"], node["slot"]) for node in own_fleet.nodes()]
    delete_database(own_fleet)
    eventually(lambda: own_fleet.run("status").returncode == 0)
    assert [(node["name"], node["slot"]) for node in own_fleet.nodes()] == nodes
    assert [one["id"] for one in jobs(own_fleet)] == [job]
    eventually(lambda: "was deleted; it is written again" in own_fleet.done("explain"))
    release(own_fleet, job)
    eventually(lambda: own_fleet.printed() == [b"kept\n"], 40)
    eventually(lambda: jobs(own_fleet) == [], 40)


def test_a_fleet_whose_folder_is_deleted_ends_and_can_be_started_anew(own_fleet: Fleet) -> None:
    own_fleet.up()
    folder = own_fleet.state
    records = [*folder.glob("processes/*.json"), *folder.glob("nodes/*/process"), folder / "proxy-1" / "master.json"]
    ran = [identity for record in records if (identity := read_record(record))]
    assert len(ran) >= 6  # two nodes, a proxy and its keeper, dashboard, the whole queue's service, a virtual printer
    controller = identity_of(own_fleet.controller())
    assert controller
    shutil.rmtree(folder, ignore_errors=True)  # somebody may write a log meanwhile
    eventually(lambda: not any(identity.alive() for identity in (controller, *ran)), 60)
    assert "there is no fleet" in own_fleet.run("status").stderr
    assert "nothing to stop" in own_fleet.run("down").stderr
    own_fleet.up()
    assert len(own_fleet.nodes()) == 2


def test_another_database_in_its_place_is_not_taken_for_ours(own_fleet: Fleet) -> None:
    own_fleet.up()
    database = own_fleet.state / "cupsfleet.db"
    other = database.with_name("elsewhere")
    other.write_bytes(database.read_bytes())
    other.replace(database)  # at once: one that is missing for a moment is written again
    log = own_fleet.state / "logs" / "controller.log"
    assert eventually(lambda: "was replaced by another file while the controller runs" in log.read_text(), 40)


def test_spools_are_taken_in_again_when_the_database_is_lost(own_fleet: Fleet) -> None:
    own_fleet.up()
    job = held(own_fleet, b"survives\n")
    nodes = [(node["name"], node["slot"], node["address"]) for node in own_fleet.nodes()]
    own_fleet.done("down")
    delete_database(own_fleet)
    strange = own_fleet.state / "nodes" / "node-77" / "spool"
    strange.mkdir(parents=True)
    own_fleet.up()
    assert [(node["name"], node["slot"], node["address"]) for node in own_fleet.nodes()] == nodes
    eventually(lambda: [one["id"] for one in jobs(own_fleet)] == [job], 40)
    (problem,) = eventually(lambda: found if len(found := own_fleet.status()["problems"]) == 1 else [])
    assert f"the folder {strange.parent} belongs to no server" in problem
    assert "no job waits in it" in problem
    release(own_fleet, job)
    eventually(lambda: own_fleet.printed() == [b"survives\n"], 40)
    strange.rmdir()
    strange.parent.rmdir()
    eventually(lambda: own_fleet.status()["problems"] == [], 40)


def test_the_sink_of_a_virtual_printer_outlives_its_configuration_until_its_jobs_are_printed(
    own_fleet: Fleet, tmp_path: Path
) -> None:
    config = tmp_path / "fleet.toml"
    config.write_text(PRINTERS + ATTIC)
    own_fleet.done("up", "--detach", "--config", str(config), "--port", str(own_fleet.port))
    own_fleet.done("user", "add", "demo", stdin="secret\n")
    (own_fleet.state / "passwords").write_text("demo secret\n")
    job = held(own_fleet, b"from the attic\n", "attic")
    (node,) = (one["node"] for one in jobs(own_fleet))
    replace_file(config, PRINTERS)
    waits = "attic is declared no longer and goes when its open jobs are done"
    eventually(lambda: [one for one in own_fleet.nodes() if one["name"] == node and waits in one["reason"]])
    eventually(lambda: own_fleet.status()["problems"] == [])
    assert list((own_fleet.state / "processes").glob("printer-attic-*"))
    release(own_fleet, job)
    eventually(lambda: own_fleet.printed("attic") == [b"from the attic\n"])
    eventually(lambda: not list((own_fleet.state / "processes").glob("printer-attic-*")))
    eventually(lambda: all("attic" not in one["reason"] for one in own_fleet.nodes()), 90)
