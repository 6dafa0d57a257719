"""The door's certificate, made here until the site names its own, and watched for its end. And those by which servers
that someone else runs are judged."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from machine.files import replace_file

EXPIRES_SOON = 14 * 86400.0
"""Seconds before its end from which on a certificate is a problem, and one that was made here is made anew."""


class CertificateError(Exception):
    """A certificate can't be made or used; the message says why."""


def ensure(path: Path, name: str) -> None:
    """Make a self-signed certificate for a door of this name, unless a good one is there. Raises CertificateError."""
    if path.exists() and _bears(path, path.stat().st_mtime_ns, name) and not ending(path, time.time()):
        return
    names = dict.fromkeys((name, "localhost", socket.gethostname()))
    hosts = ",".join(f"DNS:{item}" for item in names)
    key, chain = path.with_suffix(".key"), path.with_suffix(".crt")
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "3650", "-subj", f"/CN={name}", "-addext", f"subjectAltName={hosts},IP:127.0.0.1,IP:::1"),
        *("-keyout", str(key), "-out", str(chain)),
    )
    replace_file(path, chain.read_text() + key.read_text())
    key.unlink()
    chain.unlink()


def check(path: Path) -> None:
    """Raise CertificateError unless the file holds a certificate chain and its private key, without a pass phrase."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password="")
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(error.strerror or str(error)) from None


def check_authorities(path: Path) -> None:
    """Raise CertificateError unless the file holds certificates by which others can be judged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(error.strerror or str(error)) from None
    if not context.cert_store_stats()["x509"]:
        raise CertificateError("it holds no certificate")


def served(own: Path | None, made: Path, now: float) -> tuple[Path, str]:
    """The file for the proxies, and a sentence about what is wrong with the certificate, or ''.

    own: the site's, if it has one. A copy beside `made`, the one made here, stays in use when it goes or breaks, so
    that users can still be added and removed; without a copy `made` does. now: seconds since 1970.
    """
    if own is None:
        return made, ""
    copy = made.with_name("site.pem")
    wrong = _renewed("front_door.certificate", own, copy, check, lambda: ending(copy, now))
    return next((path for path in (copy, made) if path.exists()), own), wrong


def trusted(own: Path | None, made: Path) -> tuple[Path | None, str]:
    """The file by which servers that someone else runs are judged, and a sentence about what is wrong with it, or ''.

    own: the site's; None takes any certificate. A copy beside `made` stays in use as above. Before there was a good
    one nobody was judged, and that stays so too.
    """
    if own is None:
        return None, ""
    copy = made.with_name("authorities.pem")
    wrong = _renewed("nodes.ca_file", own, copy, check_authorities, str)
    return copy if copy.exists() else None, wrong


def ending(path: Path, now: float) -> str:
    """A sentence when the certificate ends soon, else ''. Raises CertificateError, OSError."""
    left = _end(path, path.stat().st_mtime_ns) - now
    if left > EXPIRES_SOON:
        return ""
    said = f"ends in {left / 86400:.0f} days" if left > 0 else "has ended, and clients refuse it"
    return f"the door's certificate {said}; put a new one in its place"


def _renewed(setting: str, own: Path, copy: Path, check: Callable[[Path], None], then: Callable[[], str]) -> str:
    """Bring the copy up to date if the site's file is good; what is wrong with that, else what `then` says."""
    try:
        _copy(own, copy, check)
        return then()
    except (OSError, CertificateError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return f"{setting} {own} can't be used ({why}); what was in use before stays"


def _copy(own: Path, copy: Path, check: Callable[[Path], None]) -> None:
    text = own.read_bytes().decode(errors="replace")
    if copy.exists() and copy.read_text() == text:
        return
    candidate = copy.with_name("candidate.pem")
    replace_file(candidate, text)
    try:
        check(candidate)
        os.replace(candidate, copy)
    finally:
        candidate.unlink(missing_ok=True)


@lru_cache(maxsize=8)
def _bears(path: Path, changed: int, name: str) -> bool:
    """changed: when the file was, so that each is read once."""
    try:
        return "does match" in _openssl("x509", "-in", str(path), "-noout", "-checkhost", name)
    except CertificateError:
        return False


@lru_cache(maxsize=8)
def _end(path: Path, changed: int) -> float:
    """Seconds since 1970. changed: as above."""
    told = _openssl("x509", "-in", str(path), "-noout", "-enddate")
    return float(ssl.cert_time_to_seconds(told.strip().partition("=")[2]))


def _openssl(*arguments: str) -> str:
    run = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60, check=False)
    if run.returncode:
        raise CertificateError(f"openssl {arguments[0]} failed: {run.stderr.strip()[-300:]}")
    return run.stdout
