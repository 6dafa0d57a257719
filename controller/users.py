"""People who may print: what the edge needs to know who it talks to."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import string
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from controller.nodes.proof import OWNER
from controller.state import State
from haproxy.model import User
from machine.files import replace_file

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,126}")
_HASH = re.compile(r"\$6\$(rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}")
"""A whole SHA-512 crypt hash, as haproxy/render.py takes it."""
_RESERVED = {"anonymous", "root", OWNER}
"""Names that mean something else to a CUPS server, or to the fleet, than a person."""
_ALPHABET = string.ascii_letters + string.digits


class UserError(Exception):
    """A user can't be added, changed or removed; the message says why."""


@dataclass(frozen=True)
class Users:
    """The user list, one line `name:hash:role` each (role `user` or `admin`), in a file of mode 600.

    Names are equal when only their case differs: a CUPS server compares owners of jobs that way.
    """

    path: Path

    @property
    def passwords(self) -> Path:
        """Where the passwords of the first users are kept, a line `name password` each."""
        return self.path.with_name("passwords")

    def all(self) -> tuple[User, ...]:
        """Everybody, in the order of names. () means that there is no such file, and nothing else.

        Raises UserError for a file that names nobody or has a line that is not understood, OSError for one that
        can't be read: whoever enforces the list must not take those for "nobody may print".
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        users: dict[str, User] = {}
        for number, line in enumerate(content.split(b"\n"), 1):
            if line.strip():
                user = _parse(self.path, number, line)
                if same := users.get(user.name.lower()):
                    raise UserError(f"{self.path}, line {number}: {user.name} is there already, as {same.name}")
                users[user.name.lower()] = user
        if not users:
            raise UserError(f"{self.path} names nobody; delete it, then: cupsfleet user add NAME --admin")
        return tuple(sorted(users.values()))

    def administrators(self) -> frozenset[str]:
        """Names of those who may do anything; nobody while the list can't be read."""
        try:
            return frozenset(user.name for user in self.all() if user.admin)
        except (UserError, OSError):
            return frozenset()

    def stamp(self) -> str:
        """Changes whenever a user does."""
        return stamp(self.all())

    def add(self, name: str, password: str, admin: bool = False) -> None:
        """Raises UserError for a name that exists or can't be used, and for an empty password."""
        _refuse_name(name)
        user = User(name, hash_password(password), admin)
        with self._alone():
            users = self.all()
            for other in users:
                if other.name.lower() == name.lower():
                    same = "exists already" if other.name == name else f"exists already, as {other.name}"
                    raise UserError(f"{name} {same}; a new password is set with: user passwd {other.name}")
            self._write((*users, user))

    def remove(self, name: str) -> None:
        """Raises UserError for a name that is unknown, and for the last one of all."""
        with self._alone():
            users, found = self._find(name)
            if len(users) == 1:
                raise UserError(f"{name} is the only user, so nobody could print; add another one first")
            self._write(tuple(user for user in users if user != found))
            self._keep_password(name, None)

    def set_password(self, name: str, password: str, keep: bool = False) -> None:
        """`keep` writes it beside the user list too, if that has kept a password of this user; else that one goes."""
        hashed = hash_password(password)
        with self._alone():
            users, found = self._find(name)
            self._write(tuple(replace(user, password_hash=hashed) if user == found else user for user in users))
            self._keep_password(name, password if keep else None)

    def set_role(self, name: str, admin: bool) -> None:
        """Raises UserError for a name that is unknown."""
        with self._alone():
            users, found = self._find(name)
            self._write(tuple(replace(user, admin=admin) if user == found else user for user in users))

    def begin(self, made: list[tuple[str, str, bool]]) -> bool:
        """Make the first users from (name, password, administrator?); False when there is a list already.

        The passwords are kept first: a crash in between leaves no list, and the next start makes both anew.
        """
        users = tuple(User(name, hash_password(password), admin) for name, password, admin in made)
        with self._alone():
            if self.path.exists():
                return False
            replace_file(self.passwords, "".join(f"{name} {password}\n" for name, password, _ in made))
            self._write(users)
            return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change at a time: another program's waits."""
        handle = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _find(self, name: str) -> tuple[tuple[User, ...], User]:
        users = self.all()
        for user in users:
            if user.name == name:
                return users, user
        raise UserError(f"there is no user {name}; known are {', '.join(user.name for user in users) or 'none'}")

    def _write(self, users: tuple[User, ...]) -> None:
        lines = (f"{user.name}:{user.password_hash}:{'admin' if user.admin else 'user'}\n" for user in sorted(users))
        replace_file(self.path, "".join(lines))

    def _keep_password(self, name: str, password: str | None) -> None:
        """Correct this user's line in the kept passwords, or take it out; who has none gets none."""
        try:
            lines = self.passwords.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        kept = [f"{name} {password}" if line.split(" ")[0] == name else line for line in lines]
        if password is None:
            kept = [line for line in lines if line.split(" ")[0] != name]
        if kept != lines:
            replace_file(self.passwords, "".join(f"{line}\n" for line in kept))


def _refuse_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        raise UserError(
            f"{name!r} can't be a user name; allowed are 1 to 127 letters, digits and _.@+- that begin with a "
            f"letter or digit, except {', '.join(sorted(_RESERVED))}"
        )


def stamp(users: tuple[User, ...]) -> str:
    """Tells one user list from another, and nothing about it."""
    return hashlib.sha256(repr(users).encode()).hexdigest()


def _parse(path: Path, number: int, line: bytes) -> User:
    name, _, rest = line.decode("ascii", errors="replace").partition(":")
    hashed, _, role = rest.rpartition(":")
    if not _HASH.fullmatch(hashed) or role not in ("user", "admin"):
        raise UserError(
            f"{path}, line {number}: not of the form name:$6$…:user or name:$6$…:admin with a whole SHA-512 crypt hash"
        )
    try:
        _refuse_name(name)
    except UserError as error:
        raise UserError(f"{path}, line {number}: {error}") from None
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
    begun = Users(state.users).begin([(name, password, name == "admin") for name, password in made])
    return made if begun else []
