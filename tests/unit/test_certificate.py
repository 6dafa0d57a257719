"""The door's certificate."""

from __future__ import annotations

import ssl
import stat
import subprocess
import time
from pathlib import Path

import pytest

from controller import certificate
from controller.certificate import CertificateError, check, ending, ensure, served, trusted


def test_it_is_good_for_every_name_of_the_door(tmp_path: Path) -> None:
    path = tmp_path / "door.pem"
    ensure(path, "print.example.org")
    text = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-text"], capture_output=True, text=True).stdout
    for name in ("DNS:print.example.org", "DNS:localhost", "IP Address:127.0.0.1"):
        assert name in text
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    ensure(path, "print.example.org")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["door.pem"]


def test_one_that_was_made_here_is_made_anew_for_another_name_and_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "door.pem"
    ensure(path, "localhost")
    first = path.read_bytes()
    ensure(path, "print.example.org")
    second = path.read_bytes()
    assert first != second
    monkeypatch.setattr(certificate, "EXPIRES_SOON", 4000 * 86400.0)
    assert "ends in 36" in ending(path, time.time())
    ensure(path, "print.example.org")
    assert path.read_bytes() != second
    assert "has ended" in ending(path, time.time() + 4000 * 86400)


def test_the_last_good_one_stays_when_the_sites_own_goes_or_breaks(tmp_path: Path) -> None:
    made, own = tmp_path / "tls" / "door.pem", tmp_path / "own.pem"
    made.parent.mkdir()
    assert served(None, made, 0.0) == (made, "")
    assert "No such file" in served(own, made, 0.0)[1]
    ensure(own, "print.example.org")
    path, wrong = served(own, made, time.time())
    assert (path.read_bytes(), wrong) == (own.read_bytes(), "")
    good = path.read_bytes()
    for broken in (b"", good[: len(good) // 2], good.partition(b"-----END CERTIFICATE-----\n")[0]):
        own.write_bytes(broken)
        assert "what was in use before stays" in served(own, made, time.time())[1]
        assert path.read_bytes() == good
    own.unlink()
    assert served(own, made, time.time())[0] == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in made.parent.iterdir()] == ["site.pem"]
    ensure(own, "another.example.org")
    assert served(own, made, time.time()) == (path, "")
    assert path.read_bytes() == own.read_bytes()


def test_one_made_here_serves_until_the_sites_own_is_good(tmp_path: Path) -> None:
    made = tmp_path / "door.pem"
    ensure(made, "localhost")
    assert served(tmp_path / "own.pem", made, 0.0)[0] == made


def test_authorities_that_go_or_break_are_told_and_the_last_good_ones_stay(tmp_path: Path) -> None:
    made, own = tmp_path / "tls" / "door.pem", tmp_path / "ca.pem"
    made.parent.mkdir()
    assert trusted(None, made) == (None, "")
    path, wrong = trusted(own, made)
    assert path is None
    assert "nodes.ca_file" in wrong
    assert "No such file" in wrong
    ensure(own, "print.example.org")
    path, wrong = trusted(own, made)
    assert path
    assert (path.read_bytes(), wrong) == (own.read_bytes(), "")
    good = path.read_bytes()
    for broken in (b"", b"print-ca\n", good[: len(good) // 4]):
        own.write_bytes(broken)
        again, wrong = trusted(own, made)
        assert again == path
        assert "stays" in wrong
        assert path.read_bytes() == good
    own.unlink()
    assert trusted(own, made)[0] == path
    assert [entry.name for entry in made.parent.iterdir()] == [path.name]


def test_a_key_with_a_pass_phrase_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    ensure(path, "print.example.org")
    locked = ["openssl", "ec", "-in", str(path), "-aes128", "-passout", "pass:x"]
    key = subprocess.run(locked, capture_output=True, text=True, check=True).stdout
    path.write_text(path.read_text().partition("-----BEGIN PRIVATE KEY")[0] + key)
    with pytest.raises(CertificateError):
        check(path)
