"""The whole thing, from the command line to the printed document."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyipp.enums import IppOperation
from pyipp.parser import parse

from controller import processes
from controller.nodes.driver import NodeSpec
from controller.nodes.process import ProcessDriver
from haproxy import process
from haproxy.model import slot_of
from machine.identity import Identity, identity_of
from tests.process.fleet import Fleet, encode, eventually, free_port, with_password

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\n%"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A document unlike every other."""
    path = tmp_path / "document.pdf"
    path.write_bytes(PDF + os.urandom(20_000).hex().encode() + b"\n%%EOF\n")
    return path


def arrived(fleet: Fleet, document: Path) -> bool:
    return document.read_bytes() in fleet.printed()


def owners(fleet: Fleet, which: str = "all") -> set[str]:
    """Who owns the jobs of all nodes, as the nodes themselves say to the operator."""
    found: set[str] = set()
    for node in fleet.status()["nodes"]:
        token = ProcessDriver().token(
            NodeSpec(node["name"], node["slot"], 0, "127.0.0.1", 0, fleet.state / "nodes" / node["name"])
        )
        uri = f"ipp://{node['address']}/"
        test = f"""{{
            OPERATION Get-Jobs
            GROUP operation-attributes-tag
            ATTR charset attributes-charset utf-8
            ATTR language attributes-natural-language en
            ATTR uri printer-uri {uri}
            ATTR name requesting-user-name {token.user}
            ATTR keyword which-jobs {which}
            ATTR keyword requested-attributes job-originating-user-name
            DISPLAY job-originating-user-name
        }}"""
        run = subprocess.run(["ipptool", "-c", uri, "/dev/stdin"], input=test, capture_output=True, text=True)
        found |= {line.strip() for line in run.stdout.splitlines()[1:] if line.strip()}
    return found


class TestPrinting:
    def test_ipptool(self, fleet: Fleet, document: Path) -> None:
        fleet.print_document(document)
        assert eventually(lambda: arrived(fleet, document))

    def test_lp_with_an_upgrade_to_tls(self, fleet: Fleet, document: Path) -> None:
        command = ["lp", "-h", f"localhost:{fleet.port}", "-U", "demo", "-E", "-d", "office", str(document)]
        code, said = with_password(command, fleet.password())
        assert code == 0, said
        eventually(lambda: arrived(fleet, document))

    def test_a_second_cupsd_as_client(self, fleet: Fleet, document: Path, tmp_path: Path) -> None:
        """As README tells an administrator of a Linux machine to set it up."""
        told = "lpadmin -p office -E -v ipps://demo:PASSWORD@print.example.org:8631/printers/office -m raw"
        assert told in Path("README.md").read_text()
        driver = ProcessDriver()
        spec = NodeSpec("client", 90, 90_000_001, "127.0.0.1", free_port(), tmp_path / "client")
        driver.start(spec)
        try:
            lpadmin, *rest = told.split()
            rest[rest.index("-v") + 1] = fleet.uri()
            for command in ([lpadmin, *rest], ["lp", "-d", "office", str(document)]):
                server = [command[0], "-h", "/proc/self/cwd/run/cups.sock", *command[1:]]
                run = subprocess.run(server, cwd=spec.folder, capture_output=True, text=True, timeout=60)
                assert run.returncode == 0, run.stderr
            eventually(lambda: arrived(fleet, document), deadline=30)
        finally:
            driver.remove(spec)

    def test_jobs_belong_to_the_one_who_logged_in(self, fleet: Fleet, document: Path) -> None:
        run = fleet.ipptool("print-job.test", "-d", "user=root", document=document)
        assert run.returncode == 0, run.stdout
        eventually(lambda: arrived(fleet, document))
        assert owners(fleet) == {"demo"}

    @pytest.mark.parametrize("password", ["", "wrong"])
    def test_nobody_prints_without_the_password(self, fleet: Fleet, document: Path, password: str) -> None:
        uri = f"ipps://demo:{password}@localhost:{fleet.port}/printers/office"
        command = ["ipptool", "-tv", "-f", str(document), uri, "print-job.test"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert run.returncode != 0
        later = document.with_name("later.pdf")
        later.write_bytes(document.read_bytes() + b"later")
        fleet.print_document(later)
        eventually(lambda: arrived(fleet, later))
        assert not arrived(fleet, document)


STOCK_TESTS = Path("/usr/share/cups/ipptool")
SUITES = (
    "ipp-1.1.test",
    "create-job.test",
    "print-job-and-wait.test",
    "print-job-hold.test",
    "get-jobs.test",
    "cancel-current-job.test",
    "create-printer-subscription.test",
    "get-subscriptions.test",
)
SAMPLES = ("document-a4.pdf", "document-a4.ps", "document-letter.pdf", "document-letter.ps", "color.jpg", "gray.jpg")


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CUPS's test files with the sample documents that they name and that Debian leaves out."""
    folder = tmp_path_factory.mktemp("suites")
    for path in STOCK_TESTS.glob("*.test"):
        (folder / path.name).write_bytes(path.read_bytes())
    for name in SAMPLES:
        (folder / name).write_bytes(PDF)
    return folder


@pytest.mark.parametrize("suite", SUITES)
def test_cups_own_suites_say_through_the_door_what_one_node_says(fleet: Fleet, suites: Path, suite: str) -> None:
    # The node that is asked directly has to have jobs and a subscription of its own.
    for _ in range(6):
        fleet.print_document(suites / "document-a4.pdf")
    direct = f"ipp://demo@{fleet.nodes()[0]['address']}/printers/office"
    subscribe = ["ipptool", "-t", direct, "create-printer-subscription.test"]
    subprocess.run(subscribe, cwd=suites, check=True, capture_output=True, timeout=60)
    eventually(lambda: not {3, 5} & states(fleet))  # one that prints yet is there for the first who asks only
    told_directly = verdicts(suites, suite, direct)
    assert len(told_directly) == (66 if suite == "ipp-1.1.test" else len(told_directly)) > 0
    assert verdicts(suites, suite, fleet.uri()) == told_directly


def states(fleet: Fleet) -> set[int]:
    """job-state of each open job."""
    asked = encode(IppOperation.GET_JOBS, {"requested-attributes": ["job-id", "job-state"]})
    return {job["job-state"] for job in parse(fleet.ipp(asked)[1])["jobs"]}


def verdicts(folder: Path, suite: str, uri: str) -> list[str]:
    """Each test of a suite with its outcome: the lines that end in [PASS], [FAIL] or [SKIP]."""
    command = ["ipptool", "-tv", "-f", str(folder / SAMPLES[0]), uri, suite]
    environment = {**os.environ, "USER": "demo", "CUPS_USER": "demo"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, env=environment)
    return [line.strip() for line in run.stdout.splitlines() if line.rstrip().endswith(("[PASS]", "[FAIL]", "[SKIP]"))]


def test_nobody_makes_a_node_connect_elsewhere(fleet: Fleet) -> None:
    """A subscription that is pushed would be a request from inside, to an address of the user's choice."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        recipient = f"recipient=rss://127.0.0.1:{listener.getsockname()[1]}/x"
        run = fleet.ipptool("create-printer-subscription.test", "-d", recipient)
    assert "client-error-not-possible" in run.stdout or "client-error-uri-scheme-not-supported" in run.stdout


class TestAdministration:
    def test_a_node_is_added_and_retired_by_command(self, fleet: Fleet, document: Path) -> None:
        name = fleet.done("add", "--wait").strip()
        added = next(node for node in fleet.nodes() if node["name"] == name)
        assert (added["weight"], len(fleet.nodes())) == (100, 4)
        assert fleet.done("retire", name, "--wait").strip() == name
        assert name not in {node["name"] for node in fleet.status()["nodes"]}
        assert not (fleet.state / "nodes" / name).exists()
        fleet.print_document(document)

    def test_a_drained_node_keeps_its_place_and_gets_no_work(self, fleet: Fleet) -> None:
        name = fleet.nodes()[0]["name"]
        fleet.done("drain", name, "--wait")
        (drained,) = fleet.nodes("draining")
        assert (drained["name"], drained["weight"]) == (name, 0)
        fleet.done("resume", name, "--wait")
        assert name in {node["name"] for node in fleet.nodes()}

    def test_a_wrong_name_is_refused_with_the_right_ones(self, fleet: Fleet) -> None:
        run = fleet.run("retire", "node-77")
        assert run.returncode == 1
        assert "there is no server node-77; known are node-1" in run.stderr

    def test_users_come_and_go(self, fleet: Fleet, document: Path) -> None:
        fleet.done("user", "add", "alice", stdin="wonder land\n")
        uri = f"ipps://alice:wonder%20land@localhost:{fleet.port}/printers/office"
        command = ["ipptool", "-tv", "-f", str(document), uri, "print-job.test"]
        assert subprocess.run(command, capture_output=True, timeout=30).returncode == 0
        eventually(lambda: arrived(fleet, document))
        fleet.done("user", "remove", "alice")
        assert subprocess.run(command, capture_output=True, timeout=30).returncode != 0

    def test_up_again_changes_nothing(self, fleet: Fleet) -> None:
        before = [(node["name"], fleet.pid_of(node["name"])) for node in fleet.nodes()]
        fleet.up()
        assert [(node["name"], fleet.pid_of(node["name"])) for node in fleet.nodes()] == before

    def test_the_state_folder_gives_nothing_away(self, fleet: Fleet) -> None:
        for name in ("passwords", "users", "secret", "cupsfleet.db", "tls/door.pem", "proxy-1/haproxy.cfg"):
            assert (fleet.state / name).stat().st_mode & 0o077 == 0, name
        logs = b"".join(path.read_bytes() for path in (fleet.state / "logs").iterdir())
        for secret in (fleet.password("demo"), fleet.password("admin"), (fleet.state / "secret").read_text()):
            assert secret.encode() not in logs


def kill_proxy(fleet: Fleet) -> Identity:
    """Kill HAProxy's master; who that was."""
    master = process.recorded(fleet.state / "proxy-1")
    assert master is not None
    os.kill(master.pid, signal.SIGKILL)
    return master


def proxy_files(fleet: Fleet) -> list[str]:
    return [(fleet.state / "proxy-1" / name).read_text() for name in ("haproxy.cfg", "slots.map")]


def answer(fleet: Fleet, request: bytes) -> int:
    """The HTTP status of the answer; 0 while nobody answers."""
    try:
        return fleet.ipp(request)[0]
    except OSError:
        return 0


class TestDeaths:
    def test_a_killed_node_is_back_with_its_jobs(self, fleet: Fleet) -> None:
        node = fleet.nodes()[0]
        died = fleet.pid_of(node["name"])
        os.kill(died, signal.SIGKILL)
        record = fleet.state / "nodes" / node["name"] / "process"
        eventually(lambda: processes.recorded_pid(record) not in (None, died))
        (back,) = eventually(lambda: [one for one in fleet.nodes() if one["name"] == node["name"]])
        assert (back["slot"], back["address"]) == (node["slot"], node["address"])

    def test_a_job_of_a_killed_node_is_never_unknown(self, fleet: Fleet) -> None:
        """Another node would say `not found`, which a client takes for the end of its job."""
        hold = {"job-hold-until": "indefinite"}
        created = parse(fleet.ipp(encode(IppOperation.CREATE_JOB, {}, hold))[1])
        job = created["jobs"][0]["job-id"]
        node = next(one for one in fleet.nodes() if one["slot"] == slot_of(job))
        ask = encode(IppOperation.GET_JOB_ATTRIBUTES, {"job-id": job})
        died = fleet.pid_of(node["name"])
        os.kill(died, signal.SIGKILL)
        eventually(lambda: identity_of(died) is None)  # until then it may take a request and cut it off
        answers: list[str] = []
        until = time.monotonic() + 40
        while time.monotonic() < until and answers[-5:] != ["0x0"] * 5:
            status, body = fleet.ipp(ask)
            answers.append(hex(parse(body)["status-code"]) if status == 200 else str(status))
        assert set(answers) <= {"503", "0x0"}
        assert answers[-5:] == ["0x0"] * 5
        eventually(lambda: fleet.ipp(encode(IppOperation.CANCEL_JOB, {"job-id": job}))[0] == 200)

    def test_printing_goes_on_without_the_controller_and_it_adopts_everything(
        self, own_fleet: Fleet, document: Path
    ) -> None:
        own_fleet.up()
        names = [node["name"] for node in own_fleet.nodes()]
        pids = [own_fleet.pid_of(name) for name in names]
        proxy = (own_fleet.state / "proxy-1" / "haproxy.cfg").read_bytes()
        os.kill(own_fleet.controller(), signal.SIGKILL)
        eventually(lambda: own_fleet.controller() is None)
        own_fleet.print_document(document)
        eventually(lambda: arrived(own_fleet, document))
        assert "no controller runs" in own_fleet.status()["problems"][0]
        os.kill(pids[0], signal.SIGKILL)
        for _ in range(10):
            own_fleet.print_document(document)
        own_fleet.up()
        eventually(lambda: len(own_fleet.nodes()) == 2 and own_fleet.running_pid(names[0]) not in (None, pids[0]))
        assert [node["name"] for node in own_fleet.nodes()] == names
        assert own_fleet.pid_of(names[1]) == pids[1]
        eventually(lambda: (own_fleet.state / "proxy-1" / "haproxy.cfg").read_bytes() == proxy)

    def test_a_killed_proxy_is_back_with_the_same_routes(self, fleet: Fleet, document: Path) -> None:
        created = parse(fleet.ipp(encode(IppOperation.CREATE_JOB, {}, {"job-hold-until": "indefinite"}))[1])
        ask = {"job-id": created["jobs"][0]["job-id"]}
        files = proxy_files(fleet)
        died = kill_proxy(fleet)
        eventually(lambda: process.recorded(fleet.state / "proxy-1") not in (None, died))
        eventually(lambda: identity_of(died.pid) is None)
        eventually(lambda: answer(fleet, encode(IppOperation.GET_JOB_ATTRIBUTES, ask)) == 200)
        assert proxy_files(fleet) == files
        assert fleet.ipp(encode(IppOperation.CANCEL_JOB, ask))[0] == 200
        fleet.print_document(document)
        eventually(lambda: arrived(fleet, document))

    def test_a_proxy_that_is_killed_without_a_controller_is_back_and_stays_as_it_is(
        self, own_fleet: Fleet, document: Path
    ) -> None:
        own_fleet.up()
        files = proxy_files(own_fleet)
        os.kill(own_fleet.controller(), signal.SIGKILL)
        died = kill_proxy(own_fleet)
        eventually(lambda: process.recorded(own_fleet.state / "proxy-1") not in (None, died))
        eventually(lambda: answer(own_fleet, encode(IppOperation.GET_PRINTER_ATTRIBUTES, {})) == 200)
        own_fleet.print_document(document)
        eventually(lambda: arrived(own_fleet, document))
        back = process.recorded(own_fleet.state / "proxy-1")
        own_fleet.up()
        assert process.recorded(own_fleet.state / "proxy-1") == back
        eventually(lambda: proxy_files(own_fleet) == files)  # a job that prints takes something from its node's share

    def test_down_ends_everything_and_twice_is_no_error(self, own_fleet: Fleet) -> None:
        own_fleet.up()
        pids = [own_fleet.pid_of(node["name"]) for node in own_fleet.nodes()]
        pids.append(own_fleet.controller())
        assert own_fleet.run("down").returncode == 0
        assert [pid for pid in pids if identity_of(pid)] == []
        own_fleet.up()
        assert [node["name"] for node in own_fleet.nodes()] == ["node-1", "node-2"]
        own_fleet.done("down")
        again = own_fleet.run("down")
        assert (again.returncode, "does not run" in again.stderr) == (0, True)
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"https://localhost:{own_fleet.port}/", timeout=2)


@contextmanager
def mounted(place: Path, *mounts: list[str]) -> Iterator[None]:
    """What `mount` makes of the folder meanwhile."""
    for options in mounts:
        subprocess.run(["mount", *options, str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


class TestMistakes:
    def test_a_taken_port_is_one_sentence(self, fleet: Fleet, own_fleet: Fleet) -> None:
        own_fleet.port = fleet.port
        run = own_fleet.run("up", "--detach", "--port", str(fleet.port))
        assert run.returncode == 1
        assert str(fleet.port) in run.stderr

    def test_a_folder_that_cannot_be_made(self, own_fleet: Fleet) -> None:
        own_fleet.state.parent.joinpath("state").write_text("a file")
        run = own_fleet.run("up", "--detach")
        own_fleet.state.unlink()
        assert run.returncode == 3
        assert "can't be written" in run.stderr

    def test_a_folder_that_can_only_be_read(self, own_fleet: Fleet) -> None:
        """Modes do not stop root, a file system that is mounted read-only does."""
        own_fleet.state.mkdir()
        (own_fleet.state / "users").write_text("demo")
        with mounted(own_fleet.state, ["--bind", str(own_fleet.state)], ["-o", "remount,ro,bind"]):
            run = own_fleet.run("up", "--detach")
            assert (run.returncode, "can't be written" in run.stderr) == (3, True), run.stderr
            assert own_fleet.run("down").returncode == 0
        assert [path.name for path in own_fleet.state.iterdir()] == ["users"]

    def test_a_disk_without_room(self, own_fleet: Fleet) -> None:
        own_fleet.state.mkdir()
        with mounted(own_fleet.state, ["-t", "tmpfs", "-o", "size=1m", "none"]):
            run = own_fleet.run("up", "--detach")
            assert (run.returncode, "free space there" in run.stderr) == (3, True), run.stderr
            assert not (own_fleet.state / "cupsfleet.db").exists()

    def test_a_configuration_that_can_not_be_read_changes_nothing(self, own_fleet: Fleet, tmp_path: Path) -> None:
        no_toml, no_text, nowhere = tmp_path / "a.toml", tmp_path / "b.toml", tmp_path / "c.toml"
        no_toml.write_text("[nodes\n")
        no_text.write_bytes(b"\xff = 1\n")
        for place, why in ((no_toml, ""), (no_text, ""), (tmp_path, ""), (nowhere, "there is no such file")):
            run = own_fleet.run("up", "--config", str(place))
            assert (run.returncode, str(place) in run.stderr, "Traceback" in run.stderr) == (2, True, False), run.stderr
            assert why in run.stderr
        assert not own_fleet.state.exists()

    @pytest.mark.parametrize("setting", ["front_door.certificate", "nodes.ca_file"])
    def test_a_certificate_that_is_none_is_named(self, own_fleet: Fleet, setting: str) -> None:
        own_fleet.environment["CUPSFLEET_" + setting.upper().replace(".", "__")] = "/etc/hostname"
        run = own_fleet.run("up", "--detach")
        assert run.returncode == 2
        assert f"{setting} was given '/etc/hostname'" in run.stderr

    def test_asking_where_nothing_is(self, own_fleet: Fleet) -> None:
        run = own_fleet.run("status")
        assert run.returncode == 3
        assert "there is no fleet in" in run.stderr
