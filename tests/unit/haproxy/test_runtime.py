"""Answers of HAProxy's sockets: only what is known to mean success passes."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from haproxy.diff import Line, MapSlot, SetAddress, SetWeight, Step, UnmapSlot
from haproxy.errors import ProxyDown, RuntimeRefused
from haproxy.runtime import FRONTENDS, Processes, Runtime, odd_frontends, parse_map, parse_processes, parse_servers

ADDRESS = SetAddress(2, "pool", "127.0.0.2", 7)
CHANGED = "IP changed from '127.0.0.1' to '127.0.0.2', port changed from '1' to '7' by 'stats socket command'\n\n"


class Scripted(Runtime):
    """Answers with what the test says."""

    def __init__(self, answer: str) -> None:
        super().__init__(Path("/nowhere"))
        self.answer = answer
        self.asked: list[str] = []

    def ask(self, command: str, name: str = "", deadline: float | None = None) -> str:
        self.asked.append(command)
        return self.answer


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        (SetWeight(1, 5), "\n"),
        (SetWeight(1, 5), ""),
        (ADDRESS, CHANGED),
        (ADDRESS, "no need to change the addr, port changed from '1' to '9632' by 'stats socket command'\n\n"),
        (ADDRESS, "no need to change the addr, no need to change the port by 'stats socket command'\n\n"),
        (ADDRESS, "port changed from '1' to '9632' by 'stats socket command'\n\n"),
        (ADDRESS, "IP changed from '127.0.0.1' to '127.0.0.2' by 'stats socket command'\n\n"),
        (ADDRESS, "nothing changed\n\n"),
        (MapSlot(3), "\n"),
    ],
)
def test_known_answers_pass(step: Step, answer: str) -> None:
    runtime = Scripted(answer)
    runtime.carry_out(step)
    assert runtime.asked


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        (SetWeight(1, 5), "No such server.\n\n"),
        (SetWeight(1, 5), "Permission denied\n"),
        (UnmapSlot(3), "Key not found.\n\n"),
        (ADDRESS, "\n"),
        (ADDRESS, "Invalid addr format.\n"),
        (ADDRESS, CHANGED + "and something else\n"),
        (ADDRESS, "Invalid addr 'x'\n"),
        (ADDRESS, "problem converting port 'x' to an int\n"),
        (SetWeight(1, 5), "ok\n"),
    ],
)
def test_unknown_answers_are_refusals(step: Step, answer: str) -> None:
    with pytest.raises(RuntimeRefused):
        Scripted(answer).carry_out(step)


REFUSED = "Success=0\n--\n[ALERT]    (1) : config : no such file\n"


@pytest.mark.parametrize(("answer", "known"), [("\n", ""), ("Success=1\n--\nready\n", ""), (REFUSED, REFUSED)])
def test_a_reload_of_2_6_and_of_3_0(answer: str, known: str) -> None:
    assert Scripted(answer).order_reload() == known


@pytest.mark.parametrize("answer", ["Unknown command\n", "Success=2\n"])
def test_an_unknown_answer_to_a_reload_is_a_refusal(answer: str) -> None:
    with pytest.raises(RuntimeRefused):
        Scripted(answer).order_reload()


def test_servers_are_read_by_column_names() -> None:
    text = (
        "1\n# be_name srv_name srv_port srv_addr srv_admin_state srv_uweight srv_fqdn extra\n"
        "pool n1 7001 127.0.0.1 4 100 - x\npool n2 1 127.0.0.1 5 0 - x\nowner n1 7001 127.0.0.1 2 1 - x\n"
        "reads n1 7001 127.0.0.1 2 90 - x\nanyhow n1 7001 127.0.0.1 0 80 - x\n"
        "pool anyhow 0 - 0 1 - x\n"
        "owner n2 1 127.0.0.1 8 1 host.example x\ndashboard dashboard 1 127.0.0.1 0 1 - x\n\n"
    )
    found = parse_servers(text)
    assert found["pool"] == {1: Line("127.0.0.1", 7001, 100), 2: Line("127.0.0.1", 1, 0, maintenance=True)}
    assert found["reads"] == {1: Line("127.0.0.1", 7001, 90)}
    assert found["anyhow"] == {1: Line("127.0.0.1", 7001, 80)}
    assert found["owner"][2] == Line("host.example", 1, 1, drained=True)
    with pytest.raises(RuntimeRefused):
        parse_servers("Unknown command\n")


def test_a_frontend_that_is_not_there_is_told() -> None:
    text = "# pxname,svname,status,slim\n" + "".join(f"{name},FRONTEND,OPEN,9\n" for name in FRONTENDS[1:])
    assert list(odd_frontends(text, {"Hard_maxconn": "9"})) == [f"frontend {FRONTENDS[0]} is gone"]


def test_map_entries() -> None:
    assert parse_map("0x55866f67cc40 1 n1\n0x55866f8f4e30 12 n12\n\n") == {1: "n1", 12: "n12"}


def test_processes_of_2_6_and_of_3_0() -> None:
    text = (
        "#<PID>          <type>          <reloads>       <uptime>        <version>      \n"
        "1162            master          5 [failed: 2]   0d00h02m07s     2.6.12\n# workers\n"
        "1271            worker          1               0d00h00m00s     2.6.12\n# old workers\n"
        "1233            worker          3               0d00h00m43s     2.6.12\n# programs\n\n"
    )
    assert parse_processes(text) == Processes(1162, 2, (1271,), (1233,))
    text = "#<PID> <type> <reloads>\n7 master 0 0d00h00m01s 3.0.11\n# workers\n9 worker 0 0d00h00m01s 3.0.11\n"
    assert parse_processes(text) == Processes(7, 0, (9,), ())
    with pytest.raises(RuntimeRefused):
        parse_processes("Unknown command\n")


def test_a_silent_socket_is_given_up_and_a_deep_folder_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 200)
    deep.mkdir()
    with pytest.raises(ProxyDown):
        Runtime(deep).info()
    with socket.socket(socket.AF_UNIX) as listener:
        short = tmp_path / "s"
        listener.bind(str(short))
        short.rename(deep / "stats.sock")
        listener.listen()
        with pytest.raises(ProxyDown, match=r"in time|timed out"):
            Runtime(deep, deadline=0.2).info()

        def serve() -> None:
            for _ in range(2):  # the first is the connection that was given up
                connection, _address = listener.accept()
                with connection, suppress(BrokenPipeError):
                    connection.recv(100)
                    connection.sendall(b"Pid: 12\nName: HAProxy\n")

        thread = threading.Thread(target=serve)
        thread.start()
        assert Runtime(deep).worker() == 12
        thread.join()
