"""Where a node's folder may lie, what it may be called, and who gets in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from controller.nodes import process, settings
from controller.nodes.driver import NodeError, NodeSpec
from controller.nodes.process import ProcessDriver
from controller.nodes.queues import Queue
from tests.process.fleet import free_port
from tests.process.nobody import nobody
from tests.process.nodes.conftest import Node, Printer, eventually
from tests.process.nodes.test_models import PPD


@pytest.mark.parametrize(
    "name", ["two words", "Bürö", "#1 a\\b#", "100%s", '"it\'s" $HOME, `x` <a> & *', "d" * 200, f"{'deep/' * 100}end"]
)
def test_a_state_folder_may_have_any_name(tmp_path: Path, printer: Printer, name: str) -> None:
    driver = ProcessDriver()
    node = Node(driver, NodeSpec("n1", 1, 1_000_001, "127.0.0.1", free_port(), tmp_path / name / "nodes/n1"))
    printer.start()
    try:
        node.start()
        node.declare(Queue("office", printer.device, model=str(PPD) if PPD.exists() else "raw"))
        node.lp("alice")
        eventually(printer.printed)
        eventually((node.spec.folder / "log/page_log").exists)
        assert not driver.outdated(node.spec)
        node.kill()
        node.start()
        assert node.reading().error is None
    finally:
        driver.remove(node.spec)
    assert sorted(path.name for path in node.spec.folder.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "word"),
    [("a\nb", "control character"), ("a:b", "holds a :"), ("a;b", "holds a :"), ("deep/" * 200, "longer than")],
)
def test_a_folder_that_cups_cannot_read_is_refused_in_words(node: Node, name: str, word: str) -> None:
    with pytest.raises(NodeError, match=rf"{word}.*choose another --state"):
        node.driver.start(replace(node.spec, folder=node.spec.folder / name))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's filters run under another account")
def test_below_a_folder_of_mode_700_it_prints_in_a_view_of_its_own(office: Node, printer: Printer) -> None:
    assert process.first_barrier(office.spec.folder) is not None
    printer.start()
    office.lp("alice")
    eventually(printer.printed)
    views = {os.readlink(f"/proc/{pid}/ns/mnt") for pid in (os.getpid(), office.pid())}
    assert len(views) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_ordinary_user_runs_a_node(tmp_path: Path, printer: Printer) -> None:
    printer.start()
    with nobody() as user:
        command = [*user.python, "-m", "tests.process.nodes.as_user", str(user.state), printer.device]
        subprocess.run(command, check=True, timeout=60, env=user.environment, cwd="/")
        [document] = eventually(printer.printed)
        assert document.read_text() == "printed by nobody\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_account_is_refused_at_the_socket(office: Node) -> None:
    """It stands beside the socket already, so that no folder of mode 700 is in the way."""
    place = settings.admin_socket(office.spec.folder.resolve()).parent
    become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    for name in ("nobody", "root"):
        asked = [*become, "lpadmin", "-h", "/proc/self/cwd/cups.sock", "-U", name, "-x", "office"]
        done = subprocess.run(asked, cwd=place, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
        assert done.returncode != 0
        assert "denied" in done.stderr or "Unauthorized" in done.stderr or "Forbidden" in done.stderr
    assert [queue.name for queue in office.reading().queues] == ["office"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's filters run under another account")
def test_where_views_are_forbidden_another_state_is_asked_for(tmp_path: Path) -> None:
    """As in a container without CAP_SYS_ADMIN."""
    script = Path(__file__).with_name("as_user.py")
    command = ["setpriv", "--bounding-set=-sys_admin", sys.executable, str(script), str(tmp_path), "socket://127.0.0.1"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode != 0
    assert "can't be entered by the account lp" in done.stderr
    assert "choose another --state" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's nodes change their view")
def test_a_long_path_that_everybody_may_enter_needs_no_view(printer: Printer) -> None:
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    driver = ProcessDriver()
    node = Node(driver, NodeSpec("n1", 1, 1_000_001, "127.0.0.1", free_port(), home / ("d" * 200) / "n1"))
    printer.start()
    try:
        assert process.first_barrier(node.spec.folder.parent.parent) is None
        node.start()
        node.declare(Queue("office", printer.device))
        node.lp("alice")
        eventually(printer.printed)
        assert os.readlink(f"/proc/{node.pid()}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    finally:
        driver.remove(node.spec)
        shutil.rmtree(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_folder_that_is_a_file_system_is_emptied_and_stays(tmp_path: Path) -> None:
    spec = NodeSpec("n1", 1, 1_000_001, "127.0.0.1", free_port(), tmp_path / "n1")
    spec.folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", spec.folder], check=True)
    try:
        (spec.folder / "spool").mkdir()
        ProcessDriver().remove(spec)
        assert list(spec.folder.iterdir()) == []
    finally:
        subprocess.run(["umount", spec.folder], check=True)
