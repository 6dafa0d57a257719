"""The Lua parser against an independent reading, on thousands of mutated requests."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from haproxy.render import HERE
from tests.process.edge import fuzz, ippwire
from tests.process.edge.ippwire import attribute, user
from tests.unit.haproxy.ipp_reference import verdict

pytestmark = pytest.mark.skipif(not shutil.which("lua5.3"), reason="lua5.3 is not installed")

DRIVER = """
package.path = "%s/?.lua"
local ipp = require("ipp")
local function unhex(s) return (s:gsub("..", function(h) return string.char(tonumber(h, 16)) end)) end
local function hex(s) return (s:gsub(".", function(c) return string.format("%%02x", c:byte()) end)) end
for line in io.lines() do
    local body = unhex(line)
    local r = ipp.parse(body)
    if r.error then print("bad " .. r.error)
    elseif r.more then print("more")
    else
        local from, length, text = ipp.stamp(body, r, "demo")
        if r.op ~= 0x000b and r.op ~= 0x4001 and not ipp.needs_stamp(body, r, "demo") then length, text = 0, "" end
        local where = (r.slot or "-") .. (r.whole and "w" or "") .. (r.state and "s" or "")
        print("ok " .. where .. " " .. hex(body:sub(1, from) .. text .. body:sub(from + length + 1)))
    end
end
"""


def lua(requests: list[bytes]) -> list[list[str]]:
    program = DRIVER % (Path(HERE) / "lua")
    lines = "\n".join(request.hex() for request in requests) + "\n"
    result = subprocess.run(["lua5.3", "-e", program], input=lines, capture_output=True, text=True, check=True)
    return [line.split(" ", 1) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("seed", range(4))
def test_both_readings_agree_and_one_owner_is_left(seed: int) -> None:
    rng = random.Random(seed)
    requests = [fuzz.mutated(rng) for _ in range(3000)]
    stricter = ("requesting-user-name stands", "spelled", "different nodes", "can not be read", "take for its end")
    for request, answer in zip(requests, lua(requests), strict=True):
        expected, _ = verdict(request)
        if answer[0] == "bad" and any(word in answer[1] for word in stricter):
            continue  # well-framed, but refused for what it means
        if answer[0] == "bad" and expected == "more":
            continue  # a fault before the place where it breaks off: refusing early is right
        assert answer[0] == expected, (request.hex(), answer)
        if answer[0] == "ok":
            assert_stamped(request, bytes.fromhex(answer[1].split()[1]))


def assert_stamped(before: bytes, after: bytes) -> None:
    """One owner, the right one; everything that is not an owner's claim is as it was, in the same order."""
    kind, attributes = verdict(after)
    assert kind == "ok"
    owners = [found for found in attributes if found.name.lower() == b"requesting-user-name"]
    assert [(found.group, found.values) for found in owners] == [(1, [(0x42, b"demo")])]
    creates = before[3] in (2, 3, 4, 5) and before[2] == 0
    if creates:
        assert not [found for found in attributes if found.name.lower() == b"job-originating-user-name"]
    claims = {b"requesting-user-name", *([b"job-originating-user-name", b"job-id"] if creates else [])}
    kept = [found for found in attributes if found.name.lower() not in claims]
    assert kept == [found for found in verdict(before)[1] if found.name.lower() not in claims]


def test_a_request_that_bears_the_right_name_alone_is_left_as_it_is() -> None:
    right = ippwire.request(0x000A, ippwire.printer(), user("demo"), attribute(0x22, "my-jobs", b"\1"))
    twice = ippwire.request(0x000A, user("demo"), user("demo"))
    values = ippwire.request(0x000A, user("demo") + attribute(0x42, "", "alice"))
    keyword = ippwire.request(0x000A, attribute(0x44, "requesting-user-name", "demo"))
    answers = [bytes.fromhex(answer[1].split()[1]) for answer in lua([right, twice, values, keyword])]
    assert answers[0] == right
    for before, after in zip([twice, values, keyword], answers[1:], strict=True):
        assert after != before
        assert_stamped(before, after)


def test_every_prefix_of_a_sound_request_asks_for_more() -> None:
    request = ippwire.print_job(
        user("x"), attribute(0x34, "c", b"") + attribute(0x4A, "", "m") + attribute(0x21, "", 1)
    )
    whole = ippwire.print_job(user("x"), document=b"")
    assert {answer[0] for answer in lua([whole[:at] for at in range(len(whole))])} == {"more"}
    assert lua([request])[0][0] == "bad"


@pytest.mark.parametrize("name", ["'", '"', "x job-uuid=urn:uuid:1", "x\\", "a\tb", "a\nb", "x\0"])
def test_no_attribute_is_named_so_that_filters_read_others(name: str) -> None:
    [answer] = lua([ippwire.print_job(b"\x02" + attribute(0x22, name, b"\1"))])
    assert answer == ["bad", "an attribute's name holds what filters take for its end"]


@pytest.mark.parametrize(
    ("attributes", "slot"),
    [
        (attribute(0x21, "job-id", 1_000_000), "0"),
        (attribute(0x21, "job-id", 1_000_001), "1"),
        (attribute(0x21, "Job-Id", 2_000_000), "1"),
        (attribute(0x21, "job-id", -5), "0"),
        (attribute(0x45, "job-uri", "ipps://h:1/jobs/3000001"), "3"),
        (attribute(0x45, "job-uri", "ipp://h/printers/x"), "0"),
        (attribute(0x44, "x", "2100066a6f622d6964"), "-"),
        (attribute(0x21, "notify-subscription-ids", 2_000_001) + attribute(0x21, "", 2_000_002), "2"),
    ],
)
def test_the_slot_is_found_by_parsing(attributes: bytes, slot: str) -> None:
    answer = lua([ippwire.request(0x0009, attributes)])[0]
    assert answer[1].split()[0] == slot


def test_new_work_is_never_routed_by_an_id() -> None:
    assert lua([ippwire.print_job(attribute(0x21, "job-id", 2_000_001))])[0][1].startswith("- ")


REQUESTED = attribute(0x44, "requested-attributes", "printer-info")
SUBSCRIPTION = b"\x06" + attribute(0x44, "notify-pull-method", "ippget")


@pytest.mark.parametrize(
    ("operation", "attributes", "groups", "where"),
    [
        (0x000A, b"", b"", "-w"),
        (0x0039, attribute(0x21, "job-id", 0), b"", "0w"),
        (0x0019, b"", b"", "-w"),
        (0x0019, attribute(0x21, "notify-job-id", 2_000_001), b"", "2"),
        (0x001C, attribute(0x21, "notify-subscription-ids", 1_000_001) + attribute(0x21, "", 2_000_001), b"", "2w"),
        (0x000B, REQUESTED + attribute(0x44, "", "printer-state"), b"", "-s"),
        (0x000B, REQUESTED + attribute(0x44, "", "printer-is-accepting-jobs"), b"", "-s"),
        (0x000B, REQUESTED + attribute(0x44, "", "printer-state") + attribute(0x44, "", "all"), b"", "-w"),
        (0x000B, REQUESTED + attribute(0x44, "", "printer-state-message"), b"", "-w"),
        (0x000B, REQUESTED, b"", "-"),
        (0x4001, b"", b"", "-w"),
        (0x4001, REQUESTED, b"", "-"),
        (0x4001, REQUESTED + attribute(0x44, "", "printer-is-accepting-jobs"), b"", "-w"),
        (0x000B, REQUESTED + attribute(0x44, "", "queued-job-count"), b"", "-w"),
        (0x000B, REQUESTED + attribute(0x44, "", "printer-state-reasons"), b"", "-w"),
        (0x000B, attribute(0x44, "Requested-Attributes", "all"), b"", "-w"),
        (0x000B, attribute(0x44, "requested-attributes", "printer-description"), b"", "-w"),
        (0x000B, b"", b"", "-w"),
        (0x4002, b"", b"", "-w"),
        (0x4002, REQUESTED, b"", "-"),
        (0x4002, REQUESTED + attribute(0x44, "", "printer-state"), b"", "-w"),
        (0x0016, b"", SUBSCRIPTION, "-"),
        (0x0016, b"", SUBSCRIPTION + attribute(0x21, "notify-job-id", 3_000_001), "3w"),
        (0x0017, b"", SUBSCRIPTION + attribute(0x21, "notify-job-id", 3_000_001), "3"),
        (0x0009, attribute(0x21, "job-id", 1_000_001), b"", "1"),
        (0x0009, attribute(0x21, "job-id", 0), b"", "0"),
        (0x0008, attribute(0x21, "job-id", 0), b"", "0w"),
        (0x0008, attribute(0x21, "job-id", 1), b"", "0"),
        (0x0008, attribute(0x45, "job-uri", "ipp://h/jobs/0"), b"", "0"),
    ],
)
def test_questions_about_the_whole_queue_are_known(
    operation: int, attributes: bytes, groups: bytes, where: str
) -> None:
    answer = lua([ippwire.request(operation, attributes, groups=groups)])[0]
    assert answer[1].split()[0] == where
