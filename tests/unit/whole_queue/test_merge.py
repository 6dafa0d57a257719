"""One answer out of many: order, limits, privacy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.jobs.moves import Doubles
from controller.snapshot import Node
from controller.whole_queue import merge, request
from controller.whole_queue.request import JobsQuestion
from probes import wire
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute

KEYS = frozenset({b"limit", *request.JOB_SPOTS})


def keyword(name: str, *values: str) -> bytes:
    return wire.attribute(wire.KEYWORD, name, *values)


def integer(name: str, value: int) -> bytes:
    return wire.attribute(wire.INTEGER, name, value)


def question(*attributes: bytes) -> JobsQuestion:
    return JobsQuestion(request.read(ippwire.request(0x000A, ippwire.printer(), *attributes), "demo"))


def group(number: int, priority: int = 50, created: int = 0, completed: int = 0) -> bytes:
    finished = integer("time-at-completed", completed) if completed else attribute(0x13, "time-at-completed", b"")
    shown = integer("job-id", number) + integer("job-priority", priority) + integer("time-at-creation", created)
    return bytes([wire.JOB]) + shown + finished + wire.attribute(wire.NAME, "job-name", f"job {number}")


def answer(*jobs: bytes, prelude: bytes = b"") -> wire.Message:
    first = bytes([wire.OPERATION]) + ippwire.charset() + prelude
    return wire.split(wire.message(b"\2\0", 0, 9, [first, *jobs]), KEYS)


def ids(body: bytes) -> list[int]:
    return [job.number(b"job-id") for job in wire.split(body, KEYS).of(wire.JOB)]


ALL = keyword("requested-attributes", "all")
LIVES = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=30
)


def fleet_and_server(lives, key):
    """The same jobs on three nodes, each in the order that CUPS has, and on one server that numbered them by age."""
    lives = sorted(lives, key=lambda life: life[2])
    counters = {node: node * 1_000_000 for node in (1, 2, 3)}
    nodes: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    names = {}
    for node, *rest in lives:
        counters[node] += 1
        names[counters[node]] = rest
        nodes[node].append(group(counters[node], *rest))
    one = sorted(names, key=lambda number: (*key(names[number]), names[number][1], number))
    return [answer(*jobs) for jobs in nodes.values()], one


@given(LIVES)
def test_open_jobs_stand_as_in_one_server(lives) -> None:
    nodes, one = fleet_and_server(lives, lambda life: (-life[0],))
    assert ids(merge.jobs(question(ALL), nodes)) == one


@given(LIVES)
def test_finished_jobs_stand_newest_first(lives) -> None:
    nodes, one = fleet_and_server(lives, lambda life: (-life[2],))
    got = ids(merge.jobs(question(ALL, keyword("which-jobs", "completed")), nodes))
    assert sorted(got) == sorted(one)
    ended = {number: life[2] for answer in nodes for number, life in _lives(answer)}
    assert [ended[number] for number in got] == sorted(ended.values(), reverse=True)


def _lives(message: wire.Message):
    for job in message.of(wire.JOB):
        yield (
            job.number(b"job-id"),
            (job.number(b"job-priority"), job.number(b"time-at-creation"), job.number(b"time-at-completed")),
        )


@given(LIVES, st.integers(1, 10))
def test_paging_by_first_job_id_meets_every_job_once(lives, size) -> None:
    nodes, one = fleet_and_server(lives, lambda life: (0,))
    met: list[int] = []
    while True:
        first = integer("first-job-id", met[-1] + 1 if met else 1)
        asked = question(ALL, keyword("which-jobs", "all"), integer("limit", size), first)
        left = [
            answer(*(job.raw for job in node.of(wire.JOB) if not met or job.number(b"job-id") > met[-1]))
            for node in nodes
        ]
        page = ids(merge.jobs(asked, left))
        met += page
        if len(page) < size:
            break
    assert met == sorted(one)


def test_limit_and_first_index_count_jobs_of_the_whole() -> None:
    nodes = [answer(group(1_000_001), group(1_000_002)), answer(group(2_000_001), group(2_000_002))]
    asked = question(ALL, integer("limit", 2), integer("first-index", 2))
    assert ids(merge.jobs(asked, nodes)) == [1_000_002, 2_000_001]
    assert (
        wire.attributes(wire.split(asked.for_nodes()).groups[0].raw)[-1]
        == wire.attributes(b"\1" + integer("limit", 3))[0]
    )


def test_an_attribute_counts_in_whatever_group_it_stands_as_in_cups() -> None:
    job = bytes([wire.JOB]) + integer("limit", 1) + keyword("which-jobs", "completed") + integer("copies", 2)
    asked = JobsQuestion(request.read(ippwire.request(0x000A, ippwire.printer(), groups=job), "demo"))
    assert (asked.limit, asked.which) == (1, "completed")
    body = replace(asked, doubles=Doubles(copied={1_000_001: "urn:a"})).for_nodes()
    assert ippwire.integers(body, "limit") == [2]
    assert ippwire.values(body, "which-jobs") == [b"completed"]
    assert ippwire.integers(body, "copies") == [2]


def test_first_job_id_counts_for_nothing_beside_first_index() -> None:
    asked = question(integer("first-index", 2), integer("first-job-id", 1_000_005))
    for body in (asked.for_nodes(), asked.for_everybody()):
        assert ippwire.integers(body, "first-job-id") == []
    alone = question(integer("first-index", 1), integer("first-job-id", 1_000_005))
    assert ippwire.integers(alone.for_nodes(), "first-job-id") == [1_000_005]


def test_only_a_node_that_jobs_were_moved_from_is_asked_for_more_than_are_wanted() -> None:
    nodes = [Node(f"node-{slot}", slot, "process", "127.0.0.1", slot) for slot in (1, 2)]
    doubles = Doubles({1_000_000 + number: 2_000_000 + number for number in range(1, 5_001)})
    limits = {
        node.name: ippwire.integers(body, "limit")
        for node, body in replace(question(integer("limit", 3)), doubles=doubles).for_each(nodes).items()
    }
    assert limits == {"node-1": [5_003], "node-2": [3]}
    (body,) = set(replace(question(), doubles=doubles).for_each(nodes).values())
    assert ippwire.integers(body, "limit") == []


def test_the_age_of_a_job_that_its_node_has_not_in_memory_is_looked_up() -> None:
    nodes = [answer(group(1_000_001, created=0), group(1_000_002, created=7)), answer(group(2_000_001, created=5))]
    asked = question(ALL, keyword("which-jobs", "all"))
    assert asked.ageless(job for node in nodes for job in node.of(wire.JOB)) == [1_000_001]
    aged = replace(asked, ages={1_000_001: 6}, doubles=Doubles({1_000_002: 2_000_001}))
    assert ids(merge.jobs(aged, nodes)) == [2_000_001, 1_000_001]
    assert question(ALL).ageless(nodes[0].of(wire.JOB)) == []


def moved(number: int, uuid: str) -> bytes:
    return group(number) + wire.attribute(wire.URI, "job-uuid", uuid)


def test_a_moved_job_is_shown_once_and_by_the_id_that_counts() -> None:
    asked = replace(question(ALL), doubles=Doubles({1_000_001: 2_000_001}))
    assert ids(merge.jobs(asked, [answer(group(1_000_001)), answer(group(2_000_001))])) == [2_000_001]
    # the old one was asked for before it was cancelled, the new one before it was made
    assert ids(merge.jobs(asked, [answer(group(1_000_001)), answer()])) == [1_000_001]
    # both were there when nodes were asked, and the new one was cancelled since
    settled = asked.moved_to(asked.doubles)
    assert ids(merge.jobs(settled, [answer(group(1_000_001)), answer()])) == []
    ended = replace(question(ALL, keyword("which-jobs", "canceled")), doubles=asked.doubles)
    assert ids(merge.jobs(ended, [answer(group(1_000_001)), answer()])) == []


def test_a_copy_whose_id_is_not_known_yet_is_known_by_its_uuid() -> None:
    asked = replace(question(), doubles=Doubles(copied={1_000_001: "urn:a"}), with_uuid=True)
    assert "job-uuid" in asked.extras
    nodes = [answer(moved(1_000_001, "urn:a"), moved(1_000_002, "urn:b")), answer(moved(2_000_001, "urn:a"))]
    body = merge.jobs(asked, nodes)
    assert ids(body) == [1_000_001, 1_000_002]
    assert ippwire.values(body, "job-uuid") == []
    cancelled = [answer(moved(1_000_002, "urn:b")), nodes[1]]
    assert ids(merge.jobs(asked, cancelled)) == [1_000_002]


def test_a_queue_is_the_same_in_any_case_and_coding() -> None:
    uri = wire.attribute(wire.URI, "printer-uri", "ipp://h/printers/Of%66ice")
    asked = request.read(ippwire.request(0x000A, uri), "demo")
    assert asked.concerns("office")
    assert asked.concerns("OFFICE")
    assert not asked.concerns("lab")


def test_a_limit_that_nodes_set_is_the_limit_of_the_whole() -> None:
    nodes = [answer(group(1_000_001), prelude=integer("limit", 2)), answer(group(2_000_001), group(2_000_002))]
    body = merge.jobs(question(ALL), nodes)
    assert ids(body) == [1_000_001, 2_000_001]
    assert wire.split(body, KEYS).groups[0].number(b"limit") == 2


def test_what_was_asked_only_for_the_order_is_cut_out_again() -> None:
    asked = question(keyword("requested-attributes", "job-name"))
    assert asked.extras == ("job-id", "job-priority", "time-at-creation", "job-originating-user-name")
    (job,) = wire.split(merge.jobs(asked, [answer(group(1_000_001))])).of(wire.JOB)
    assert [one.name for one in wire.attributes(job.raw)] == [b"time-at-completed", b"job-name"]


def test_names_in_other_peoples_jobs_are_cut_out_where_a_node_forgets_to() -> None:
    jobs = [
        group(n) + wire.attribute(wire.NAME, request.OWNER, who) for n, who in ((1_000_001, "Demo"), (1_000_002, "bob"))
    ]
    body = merge.jobs(question(ALL), [answer(*jobs)])
    assert ippwire.values(body, "job-name") == [b"job 1000001"]
    assert ippwire.values(body, request.OWNER) == [b"Demo"]


def test_nothing_is_added_where_all_is_asked_for() -> None:
    assert question(ALL).extras == ()
    assert question(keyword("requested-attributes", "job-description", "job-template")).extras == ()
    assert question(keyword("requested-attributes", "job-description")).extras == ("job-priority",)
    assert question().requested == ("job-id", "job-uri")


def test_the_user_is_the_one_who_logged_in() -> None:
    body = question(ippwire.user("root"), attribute(0x42, "Requesting-User-Name", "root")).for_nodes()
    assert ippwire.values(body, "requesting-user-name") == [b"demo"]
    assert b"root" not in body


def test_missing_nodes_are_named_within_the_length_of_a_status_message() -> None:
    body = merge.jobs(question(ALL), [answer()], said="ä" * 200)
    (said,) = ippwire.values(body, "status-message")
    assert said.decode() == "ä" * 127


def printer(name: str, state: int, count: int, *reasons: str, said: str = "", accepting: bytes = b"\1") -> wire.Message:
    body = bytes([wire.PRINTER]) + wire.attribute(wire.NAME, "printer-name", name)
    body += wire.attribute(wire.ENUM, "printer-state", state) + keyword("printer-state-reasons", *reasons)
    body += integer("queued-job-count", count) + wire.attribute(wire.TEXT, "printer-info", "kept")
    body += wire.attribute(wire.TEXT, "printer-state-message", said)
    body += attribute(0x22, "printer-is-accepting-jobs", accepting)
    first = bytes([wire.OPERATION]) + ippwire.charset()
    return wire.split(wire.message(b"\2\0", 0, 1, [first, body]), merge.PRINTER_SPOTS)


def test_counts_are_added_up_and_the_busiest_state_is_told() -> None:
    body = merge.printers(
        [printer("a", 3, 1, "none"), printer("a", 4, 5, "toner-low-warning"), printer("a", 5, 2, "paused")]
    )
    assert ippwire.integers(body, "queued-job-count") == [8]
    assert ippwire.integers(body, "printer-state") == [4]
    assert ippwire.values(body, "printer-state-reasons") == [b"toner-low-warning"]
    assert ippwire.values(body, "printer-info") == [b"kept"]


def test_an_operators_name_is_a_secret_to_a_jobs_owner_too() -> None:
    token = "fleet-" + "0123456789abcdef" * 2
    body = merge.notifications([1_000_001], [told(60, event(1_000_001, 1, 1_000_007, token))], frozenset({1_000_007}))
    assert token.encode() not in body
    assert ippwire.values(body, "notify-text") == [b'Job canceled by "the fleet".']


def test_a_queue_is_stopped_only_where_all_are() -> None:
    both = [printer("a", 5, 0, "paused"), printer("a", 5, 0, "paused", "media-empty-error")]
    assert ippwire.integers(merge.printers(both), "printer-state") == [5]
    assert ippwire.values(merge.printers(both), "printer-state-reasons") == [b"paused", b"media-empty-error"]


def test_what_stops_one_node_does_not_stop_the_queue() -> None:
    jammed = printer("a", 4, 1, "media-jam-error", "toner-low-warning", said="jam")
    told = merge.printers([jammed, printer("a", 4, 1, "none")])
    assert ippwire.values(told, "printer-state-reasons") == [b"toner-low-warning"]
    told = merge.printers([jammed, printer("a", 4, 1, "media-jam-error")])
    assert ippwire.values(told, "printer-state-reasons") == [b"media-jam-error", b"toner-low-warning"]


def test_the_message_is_of_a_node_in_the_state_that_is_told() -> None:
    told = merge.printers([printer("a", 5, 1, "paused", said="Paused"), printer("a", 3, 0, "none", said="Ready")])
    assert ippwire.integers(told, "printer-state") == [3]
    assert ippwire.values(told, "printer-state-message") == [b"Ready"]


def test_a_job_of_which_nothing_may_be_told_is_no_empty_group() -> None:
    asked = question(keyword("requested-attributes", "job-originating-host-name"), keyword("which-jobs", "completed"))
    assert request.OWNER.encode() in asked.for_nodes()
    jobs = [
        bytes([wire.JOB])
        + integer("job-id", number)
        + integer("time-at-completed", 1)
        + wire.attribute(wire.NAME, "job-originating-host-name", "desk")
        + wire.attribute(wire.NAME, request.OWNER, owner)
        for number, owner in ((1_000_001, "bob"), (1_000_002, "Demo"))
    ]
    body = merge.jobs(asked, [answer(*jobs)])
    assert [group.raw for group in wire.split(body).of(wire.JOB)] == [
        bytes([wire.JOB]) + wire.attribute(wire.NAME, "job-originating-host-name", "desk")
    ]


def test_a_queue_of_which_nothing_is_asked_for_is_no_empty_group() -> None:
    only = bytes([wire.PRINTER]) + wire.attribute(wire.NAME, "printer-name", "a")
    body = wire.message(b"\2\0", 0, 1, [bytes([wire.OPERATION]) + ippwire.charset(), only])
    told = merge.printers([wire.split(body, merge.PRINTER_SPOTS)] * 2, [b"printer-name"])
    assert wire.split(told).of(wire.PRINTER) == []


def test_the_largest_limit_is_a_limit() -> None:
    asked = question(attribute(0x21, "limit", 2**31 - 1), attribute(0x21, "first-index", 3))
    assert ippwire.integers(asked.for_nodes(), "limit") == [2**31 - 1]


def test_a_queue_takes_jobs_where_any_node_does() -> None:
    closed, opened = printer("a", 3, 0, "none", accepting=b"\0"), printer("a", 3, 0, "none")
    assert ippwire.values(merge.printers([closed, opened]), "printer-is-accepting-jobs") == [b"\1"]
    assert ippwire.values(merge.printers([closed, closed]), "printer-is-accepting-jobs") == [b"\0"]


def test_nodes_are_alike_when_all_are_idle_and_take_jobs() -> None:
    idle = printer("a", 3, 0, "none")
    assert merge.alike([idle, idle])
    assert not merge.alike([])
    for other in (
        printer("a", 4, 1, "none"),
        printer("a", 5, 0, "paused"),
        printer("a", 3, 0, "none", accepting=b"\0"),
    ):
        assert not merge.alike([idle, other])


def test_jobs_of_nodes_that_do_not_answer_are_counted() -> None:
    told = merge.printers([printer("a", 3, 1, "none"), printer("a", 3, 1, "none")], others={"a": 3, "b": 9})
    assert ippwire.integers(told, "queued-job-count") == [5]


def event(subscription: int, sequence: int, job: int, by: str = "bob") -> bytes:
    parts = [integer("notify-subscription-id", subscription), integer("notify-sequence-number", sequence)]
    text = wire.attribute(wire.TEXT, "notify-text", f'Job canceled by "{by}".')
    named = [integer("notify-job-id", job), wire.attribute(wire.NAME, "job-name", f"secret {job}"), text]
    return bytes([wire.EVENT]) + b"".join([*parts, *named])


def told(interval: int | None, *events: bytes) -> wire.Message:
    first = bytes([wire.OPERATION]) + ippwire.charset()
    code = 7 if interval is None else 0
    first += b"" if interval is None else integer("notify-get-interval", interval)
    return wire.split(wire.message(b"\2\0", code, 1, [first, *events]), merge.EVENT_SPOTS)


def test_events_come_in_the_order_asked_for_and_name_own_jobs_only() -> None:
    answers = [told(60, event(1_000_001, 1, 1_000_007)), told(30, event(2_000_001, 4, 2_000_009))]
    body = merge.notifications([2_000_001, 1_000_001], answers, frozenset({2_000_009}))
    assert ippwire.integers(body, "notify-subscription-id") == [2_000_001, 1_000_001]
    assert ippwire.integers(body, "notify-get-interval") == [30]
    assert ippwire.values(body, "job-name") == [b"secret 2000009"]
    said = [b'Job canceled by "bob".', b"There is news of job 1000007."]
    assert ippwire.values(body, "notify-text") == said
    done = merge.notifications([1_000_001], [told(60), told(None)], frozenset())
    assert wire.split(done).code == 7
