from __future__ import annotations

import socket
from pathlib import Path

import pytest

from machine import ports
from machine.ports import free, unused


def test_a_port_is_none_that_the_kernel_gives_to_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_OUTGOING", tmp_path / "range")
    (tmp_path / "range").write_text("20000\t60999\n")
    assert all(10_000 <= unused("127.0.0.1") < 20_000 for _ in range(50))
    (tmp_path / "range").write_text("1024\t65535\n")
    assert all(unused("127.0.0.1") >= 10_000 for _ in range(50))


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_a_port_that_somebody_has_is_not_offered(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = unused("::")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: int = listener.getsockname()[1]
        monkeypatch.setattr(ports._CHANCE, "sample", lambda numbers, count: [taken, other])
        assert not free(host, taken)
        assert unused(host) == other
        monkeypatch.setattr(ports._CHANCE, "sample", lambda numbers, count: [taken])
        with pytest.raises(OSError, match="no free port could be found"):
            unused(host)
