"""The user list."""

from __future__ import annotations

import stat
import subprocess
import threading
from pathlib import Path

import pytest

from controller.state import State
from controller.users import UserError, Users, ensure_first_users, hash_password
from machine.files import replace_file


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "users")


def matches(hashed: str, password: str) -> bool:
    salt = hashed.split("$")[2]
    command = ["openssl", "passwd", "-6", "-salt", salt, "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True).stdout.strip() == hashed


def test_a_password_is_kept_as_a_salted_hash_only(users: Users) -> None:
    users.add("steve@mydomain.com", "correct horse")
    (user,) = users.all()
    assert matches(user.password_hash, "correct horse")
    assert "correct horse" not in users.path.read_text()
    assert hash_password("correct horse") != user.password_hash
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600


def test_a_role_is_changed_and_nothing_else(users: Users) -> None:
    users.add("alice", "one")
    users.add("bob", "two", admin=True)
    (alice, _) = users.all()
    users.set_role("alice", True)
    users.set_role("bob", False)
    assert [(user.name, user.admin) for user in users.all()] == [("alice", True), ("bob", False)]
    assert users.all()[0].password_hash == alice.password_hash
    with pytest.raises(UserError, match="there is no user carol"):
        users.set_role("carol", True)


def test_a_new_password_replaces_the_old_one_and_nothing_else(users: Users) -> None:
    users.add("alice", "one")
    users.add("bob", "two", admin=True)
    before = users.stamp()
    users.set_password("bob", "three")
    alice, bob = users.all()
    assert matches(alice.password_hash, "one")
    assert matches(bob.password_hash, "three")
    assert bob.admin
    assert users.stamp() != before


def test_a_removed_user_is_gone(users: Users) -> None:
    users.add("alice", "one")
    users.add("bob", "two")
    users.remove("alice")
    assert [user.name for user in users.all()] == ["bob"]


def test_nobody_is_what_a_missing_file_means_and_nothing_else(users: Users) -> None:
    assert users.all() == ()
    users.add("alice", "one")
    with pytest.raises(UserError, match="alice is the only user"):
        users.remove("alice")
    users.path.write_text("\n")
    with pytest.raises(UserError, match="names nobody"):
        users.all()


def test_case_makes_no_other_name(users: Users) -> None:
    users.add("bob", "one")
    with pytest.raises(UserError, match="Bob exists already, as bob"):
        users.add("Bob", "two")
    (line,) = users.path.read_text().splitlines()
    users.path.write_text(f"{line}\n{line.replace('bob', 'BOB')}\n")
    with pytest.raises(UserError, match="line 2: BOB is there already, as bob"):
        users.all()


def test_two_who_add_at_once_lose_nobody(users: Users) -> None:
    names = [f"user{number}" for number in range(8)]
    threads = [threading.Thread(target=users.add, args=(name, "one")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [user.name for user in users.all()] == names


@pytest.mark.parametrize("name", ["", "a b", "a:b", "-rf", "root", "ROOT", "anonymous", "a\nb", "x" * 128, "a/b", "ä"])
def test_names_that_could_mean_something_else_are_refused(users: Users, name: str) -> None:
    with pytest.raises(UserError, match="can't be a user name; allowed are"):
        users.add(name, "one")


def test_the_same_name_twice_and_an_unknown_name(users: Users) -> None:
    users.add("alice", "one")
    with pytest.raises(UserError, match="exists already"):
        users.add("alice", "two")
    with pytest.raises(UserError, match="there is no user bob; known are alice"):
        users.remove("bob")


def test_an_empty_password_is_refused(users: Users) -> None:
    with pytest.raises(UserError, match="at least one character"):
        users.add("alice", "")


@pytest.mark.parametrize(
    "line",
    [b"bob:plaintext:user", b"bob:$6$salt$short:user", b"bob:$6$salt$" + b"x" * 86 + b":boss", b"b\xffb:$6$s$x:user"]
    + [b"root:$6$salt$" + b"x" * 86 + b":user", b"nothing"],
)
def test_a_broken_list_names_its_line(users: Users, line: bytes) -> None:
    users.add("alice", "one")
    with users.path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match="line 2"):
        users.all()


def test_first_users_are_made_once(tmp_path: Path) -> None:
    state = State(tmp_path)
    made = ensure_first_users(state, with_demo=True)
    assert [name for name, _ in made] == ["demo", "admin"]
    assert state.passwords.read_text() == "".join(f"{name} {password}\n" for name, password in made)
    assert stat.S_IMODE(state.passwords.stat().st_mode) == 0o600
    assert [(user.name, user.admin) for user in Users(state.users).all()] == [("admin", True), ("demo", False)]
    assert ensure_first_users(state, with_demo=True) == []


def test_a_crash_between_never_leaves_an_administrator_whose_password_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path)

    def dying(path: Path, text: str) -> None:
        replace_file(path, text)
        raise KeyboardInterrupt

    monkeypatch.setattr("controller.users.replace_file", dying)
    with pytest.raises(KeyboardInterrupt):
        ensure_first_users(state, with_demo=True)
    monkeypatch.undo()
    made = dict(ensure_first_users(state, with_demo=True))
    assert "".join(f"{name} {password}\n" for name, password in made.items()) == state.passwords.read_text()
    for user in Users(state.users).all():
        assert matches(user.password_hash, made[user.name])


def test_kept_passwords_stay_true(tmp_path: Path) -> None:
    state = State(tmp_path)
    admin = dict(ensure_first_users(state, with_demo=True))["admin"]
    users = Users(state.users)
    users.set_password("demo", "made up", keep=True)
    assert state.passwords.read_text() == f"demo made up\nadmin {admin}\n"
    users.set_password("admin", "a person's own")
    assert state.passwords.read_text() == "demo made up\n"
    users.add("alice", "one")
    users.set_password("alice", "two", keep=True)
    users.remove("demo")
    assert state.passwords.read_text() == ""
