"""Where programs are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from machine import programs


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for servers that is not in the PATH."""
    monkeypatch.setattr(programs, "SERVERS", (str(tmp_path / "sbin"),))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for folder in ("bin", "sbin"):
        (tmp_path / folder).mkdir()
    return tmp_path / "sbin"


def put(program: Path, mode: int = 0o755) -> Path:
    program.touch()
    program.chmod(mode)
    return program


def test_a_server_is_found_without_an_administrators_path(servers: Path) -> None:
    assert programs.program("haproxy") is None
    server = put(servers / "haproxy", 0o644)
    assert programs.program("haproxy") is None  # it can't be run
    put(server)
    assert programs.program("haproxy") == server


def test_the_path_comes_first(servers: Path) -> None:
    put(servers / "haproxy")
    own = put(servers.with_name("bin") / "haproxy")
    assert programs.program("haproxy") == own
