"""The rendered files: stable, complete, and unable to say something other than what was meant."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from haproxy.errors import ConfigRefused
from haproxy.model import Edge, Server, User
from haproxy.render import CONFIG, LUA, MAP, fingerprint, quoted, render, render_files

HASH = "$6$saltsalt$" + "a" * 86
SERVERS = (Server(1, "127.0.0.1", 7001), Server(3, "10.0.0.7", 631, weight=0))
EDGE = Edge(
    port=8631,
    certificate=Path("/etc/fleet/site.pem"),
    users=(User("demo", HASH), User("admin", HASH, admin=True)),
    servers=SERVERS,
    max_slots=4,
    dashboard_port=8502,
    stats_port=8633,
    whole_port=8634,
    secret="0123456789abcdef",
)


def test_the_same_value_gives_the_same_bytes() -> None:
    other = replace(EDGE, servers=SERVERS[::-1], users=EDGE.users[::-1])
    assert render_files(EDGE) == render_files(replace(EDGE))
    assert render_files(EDGE) == render_files(other)


def test_every_slot_is_a_line_in_each_backend() -> None:
    lines = re.findall(r"^  server (n\d+) (\S+) (.*)$", render(EDGE), re.M)
    assert [name for name, _, _ in lines] == ["n1", "n2", "n3", "n4"] * 4
    assert [rest.endswith("disabled") for _, _, rest in lines[:4]] == [False, True, False, True]
    assert render_files(EDGE)[MAP] == "1 n1\n3 n3\n"


def test_each_thread_has_its_own_way_to_tls() -> None:
    text = render(replace(EDGE, threads=3))
    for number in range(3):
        assert re.search(rf"^  use-server tls{number} if {{ thread {number} }}$", text, re.M)
        assert re.search(rf"^  server tls{number} unix@tls{number}\.sock send-proxy-v2$", text, re.M)
        assert re.search(rf"^  bind unix@tls{number}\.sock accept-proxy mode 600 thread {number + 1} ssl ", text, re.M)
    assert "\n  nbthread 3\n" in text


def test_the_service_is_tried_more_often_than_connections_to_it_are_kept() -> None:
    whole = render(EDGE).split("\nbackend whole\n")[1].split("\n\n")[0]
    (tries,), (kept,) = re.findall(r"^  retries (\d+)$", whole, re.M), re.findall(r" pool-max-conn (\d+) ", whole)
    assert int(tries) > int(kept) + 2


def test_the_files_are_all_there() -> None:
    assert {CONFIG, MAP, *LUA, "dashboard-down.html"} == set(render_files(EDGE))


def test_only_what_needs_a_reload_changes_the_fingerprint() -> None:
    assert fingerprint(EDGE) == fingerprint(replace(EDGE, servers=()))
    assert fingerprint(EDGE) == fingerprint(replace(EDGE, servers=(Server(2, "10.0.0.9", 99, 7),)))
    for changed in (
        replace(EDGE, users=EDGE.users[:1]),
        replace(EDGE, max_slots=5),
        replace(EDGE, secret="another-secret"),
        replace(EDGE, servers=(Server(1, "127.0.0.1", 7001, ca_file=Path("/ca.pem")),)),
        replace(EDGE, servers=(Server(1, "printer.example.org", 631),)),
    ):
        assert fingerprint(changed) != fingerprint(EDGE)


@pytest.mark.parametrize("name", ["o'hara", 'a"b', "a b", "$HOME", "a\\b", "jörg", "#x", "%[src]"])
def test_user_names_stay_one_word(name: str) -> None:
    assert f"  user {quoted(name)} password " in render(replace(EDGE, users=(User(name, HASH, admin=True),)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"users": (User("root", HASH),)},
        {"users": (User("a:b", HASH),)},
        {"users": (User("a\nb", HASH),)},
        {"users": (User("", HASH),)},
        {"users": (User("x" * 128, HASH),)},
        {"users": (User("x", "plain"),)},
        {"secret": "has space here"},
        {"listen": "* ssl"},
        {"host_header": "a b"},
        {"source_address": "nowhere"},
        {"servers": (Server(1, "a b", 1),)},
        {"servers": (Server(1, "127.0.0.1", 1, weight=257),)},
        {"certificate": Path("/a\nb")},
    ],
)
def test_what_would_mean_something_else_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigRefused):
        render(replace(EDGE, **wrong))  # type: ignore[arg-type]


def test_a_hundred_slots_and_a_thousand_users() -> None:
    users = tuple(User(f"user{n:04}", HASH, admin=n < 20) for n in range(1000))
    text = render(replace(EDGE, max_slots=100, users=users))
    assert max(map(len, text.splitlines())) < 2048, "HAProxy reads lines of 2048 characters"
