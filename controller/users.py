"""People who may print, and the door's certificate: what the edge needs to know who it talks to."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import string
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from controller.state import State, write_private
from haproxy.model import User

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,126}")
_RESERVED = {"anonymous", "root"}
"""Names that mean something else to a CUPS server than a person."""
_ALPHABET = string.ascii_letters + string.digits


class UserError(Exception):
    """A user can't be added, changed or removed; the message says why."""


@dataclass(frozen=True)
class Users:
    """The user list, one line `name:hash:role` each (role `user` or `admin`), in a file of mode 600."""

    path: Path

    def all(self) -> tuple[User, ...]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ()
        return tuple(sorted(_parse(self.path, number, line) for number, line in enumerate(lines, 1) if line.strip()))

    def stamp(self) -> str:
        """Changes whenever a user does."""
        return stamp(self.all())

    def add(self, name: str, password: str, admin: bool = False) -> None:
        """Raises UserError for a name that exists or can't be used, and for an empty password."""
        if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
            raise UserError(
                f"{name!r} can't be a user name; allowed are 1 to 127 letters, digits and _.@+- that begin with a "
                f"letter or digit, except {' and '.join(sorted(_RESERVED))}"
            )
        users = self.all()
        if any(user.name == name for user in users):
            raise UserError(f"{name} exists already; a new password is set with: user passwd {name}")
        self._write((*users, User(name, hash_password(password), admin)))

    def remove(self, name: str) -> None:
        self._write(tuple(user for user in self.all() if user != self._find(name)))

    def set_password(self, name: str, password: str) -> None:
        found, hashed = self._find(name), hash_password(password)
        self._write(tuple(replace(user, password_hash=hashed) if user == found else user for user in self.all()))

    def _find(self, name: str) -> User:
        for user in self.all():
            if user.name == name:
                return user
        raise UserError(f"there is no user {name}; known are {', '.join(user.name for user in self.all()) or 'none'}")

    def _write(self, users: tuple[User, ...]) -> None:
        lines = (f"{user.name}:{user.password_hash}:{'admin' if user.admin else 'user'}\n" for user in users)
        write_private(self.path, "".join(lines))


def stamp(users: tuple[User, ...]) -> str:
    """Tells one user list from another, and nothing about it."""
    return hashlib.sha256(repr(users).encode()).hexdigest()


def _parse(path: Path, number: int, line: str) -> User:
    name, _, rest = line.partition(":")
    hashed, _, role = rest.rpartition(":")
    if not _NAME.fullmatch(name) or not hashed.startswith("$6$") or role not in ("user", "admin"):
        raise UserError(f"{path}, line {number}: not of the form name:$6$…:user or name:$6$…:admin")
    return User(name, hashed, role == "admin")


def hash_password(password: str) -> str:
    """SHA-512 crypt with a fresh salt (crypt(5)). The password goes over a pipe, never into the arguments."""
    if not password or "\n" in password or "\0" in password:
        raise UserError("a password must have at least one character and be a single line")
    run = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=password + "\n", capture_output=True, text=True, timeout=30
    )
    if run.returncode or not run.stdout.startswith("$6$"):
        raise UserError(f"openssl could not hash the password: {run.stderr.strip()}")
    return run.stdout.strip()


def generate_password() -> str:
    """About 95 bits, without characters that a shell or a URI treats specially."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))


def ensure_first_users(state: State, with_demo: bool) -> list[tuple[str, str]]:
    """Make an administrator `admin`, and a user `demo` where wanted, when there is no user list yet.

    Returns the new names with their passwords, which are also kept in the state folder.
    """
    if state.users.exists():
        return []
    names = ["demo", "admin"] if with_demo else ["admin"]
    made = [(name, generate_password()) for name in names]
    write_private(state.passwords, "".join(f"{name} {password}\n" for name, password in made))
    for name, password in made:
        Users(state.users).add(name, password, admin=name == "admin")
    return made


def ensure_certificate(path: Path, name: str) -> None:
    """Make a self-signed certificate for the door, once. Raises UserError when openssl can't."""
    if path.exists():
        return
    names = dict.fromkeys((name, "localhost", socket.gethostname()))
    hosts = ",".join(f"DNS:{item}" for item in names)
    key, chain = path.with_suffix(".key"), path.with_suffix(".crt")
    run = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + ["-days", "3650", "-subj", f"/CN={name}", "-addext", f"subjectAltName={hosts},IP:127.0.0.1,IP:::1"]
        + ["-keyout", str(key), "-out", str(chain)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if run.returncode:
        raise UserError(f"openssl could not make the door's certificate: {run.stderr.strip()}")
    write_private(path, chain.read_text() + key.read_text())
    key.unlink()
    chain.unlink()
