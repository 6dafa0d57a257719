"""Five nodes answer as one printer: lists, counts, cancelling, subscriptions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from haproxy.model import slot_of
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import Fleet, eventually
from tests.process.whole_queue.asking import (
    CANCEL_JOB,
    CANCEL_JOBS,
    CANCEL_MY_JOBS,
    GET_JOBS,
    HELD,
    MINE,
    NODES,
    PEOPLE,
    ask,
    create,
    integers,
    keyword,
    listed,
    program,
    status,
)


class TestLists:
    def test_everybody_sees_all_jobs_every_time(self, five: Fleet, held: dict[str, list[int]]) -> None:
        everything = sorted(job for jobs in held.values() for job in jobs)
        for name in PEOPLE:
            for _ in range(3):
                assert sorted(listed(five, user=name)) == everything
                assert sorted(listed(five, MINE, user=name)) == sorted(held[name])

    def test_a_crowd_asks_for_own_jobs_and_each_gets_own_ones(self, five: Fleet, held: dict[str, list[int]]) -> None:
        questions = [(name, limit) for limit in range(1, 2 * NODES + 5) for name in PEOPLE]
        with ThreadPoolExecutor(len(questions)) as crowd:
            lists = list(crowd.map(lambda one: listed(five, MINE, integers("limit", one[1]), user=one[0]), questions))
        whole = {name: listed(five, MINE, user=name) for name in PEOPLE}
        assert {name: sorted(jobs) for name, jobs in whole.items()} == {name: sorted(held[name]) for name in PEOPLE}
        assert lists == [whole[name][:limit] for name, limit in questions]

    def test_order_is_by_age_and_priority(self, five: Fleet, held: dict[str, list[int]]) -> None:
        time.sleep(1.1)  # CUPS knows a job's age in seconds
        last = create(five, "demo", "the last one")
        time.sleep(1.1)
        urgent = HELD + attribute(0x21, "job-priority", 90)
        first = ippwire.integers(ask(five, 0x0005, groups=urgent), "job-id")[0]
        for limit in (0, 1, 7):
            shown = listed(five, *([integers("limit", limit)] if limit else []))
            assert shown[0] == first
            assert limit in (0, len(shown))
            assert last not in shown[:-1]

    def test_a_client_that_pages_meets_every_job_once(self, five: Fleet, held: dict[str, list[int]]) -> None:
        met: list[int] = []
        which = keyword("which-jobs", "all")
        while page := listed(five, which, integers("limit", 4), integers("first-job-id", max(met, default=0) + 1)):
            met += page
        assert met == sorted(set(met))
        assert set(met) >= {job for jobs in held.values() for job in jobs}

    def test_finished_jobs_newest_first(self, five: Fleet, held: dict[str, list[int]]) -> None:
        ended = []
        for job in (held["demo"][0], held["demo"][3], held["demo"][1]):
            assert status(ask(five, CANCEL_JOB, integers("job-id", job))) == 0
            ended.append(job)
            time.sleep(1.1)
        assert listed(five, MINE, keyword("which-jobs", "completed"), integers("limit", 3)) == ended[::-1]

    def test_named_jobs_come_in_the_order_of_their_naming(self, five: Fleet, held: dict[str, list[int]]) -> None:
        wanted = [held["demo"][4], held["alice"][0], held["demo"][2]]
        assert listed(five, integers("job-ids", *wanted)) == wanted
        assert status(ask(five, GET_JOBS, integers("job-ids", *wanted, 1_999_999))) == 0x0406
        assert status(ask(five, GET_JOBS, integers("job-ids", *wanted), integers("limit", 1))) == 0x040E

    def test_names_of_others_stay_private(self, five: Fleet, held: dict[str, list[int]]) -> None:
        wanted = keyword("requested-attributes", "job-id", "job-name", "job-originating-user-name")
        answer = ask(five, GET_JOBS, wanted)
        assert len(ippwire.values(answer, "job-id")) == 3 * len(held["demo"])
        assert set(ippwire.values(answer, "job-originating-user-name")) == {b"demo"}
        assert all(name.startswith(b"demo ") for name in ippwire.values(answer, "job-name"))

    def test_a_wrong_question_is_refused_as_by_one_server(self, five: Fleet) -> None:
        answer = ask(five, GET_JOBS, keyword("which-jobs", "nonsense"))
        assert status(answer) == 0x040B
        assert ippwire.values(answer, "which-jobs") == [b"nonsense"]

    def test_counts_of_the_whole_queue(self, five: Fleet, held: dict[str, list[int]]) -> None:
        counts = keyword("requested-attributes", "queued-job-count", "printer-state", "printer-name")
        groups = keyword("requested-attributes", "printer-description")
        for wanted in (counts, groups, keyword("requested-attributes", "all"), b""):
            for operation in (0x000B, 0x4002, 0x000B, 0x4002):  # again: what was read once may be remembered
                answer = ask(five, operation, wanted)
                assert ippwire.integers(answer, "queued-job-count") == [sum(map(len, held.values()))]
                assert ippwire.values(answer, "printer-name") == [b"office"]

    @pytest.mark.parametrize("test", ["get-jobs.test", "get-completed-jobs.test"])
    def test_cups_own_tests(self, five: Fleet, held: dict[str, list[int]], test: str) -> None:
        ask(five, CANCEL_JOB, integers("job-id", held["demo"][0]))
        run = five.ipptool(test)
        assert run.returncode == 0, run.stdout

    def test_lpstat_shows_the_same_list_each_time(self, five: Fleet, held: dict[str, list[int]]) -> None:
        shown = [program(five, "lpstat", "-o") for _ in range(2)]
        assert shown[0] == shown[1]
        assert shown[0][1].count("office-") == 3 * len(held["demo"])


class TestCancelling:
    def test_all_my_jobs(self, five: Fleet, held: dict[str, list[int]]) -> None:
        code, said = program(five, "cancel", "-u", "alice", user="alice")
        assert code == 0, said
        assert listed(five, MINE, user="alice") == []
        assert sorted(listed(five)) == sorted(held["demo"] + held["bob"])

    def test_named_ones_on_several_nodes_all_or_none(self, five: Fleet, held: dict[str, list[int]]) -> None:
        mine, foreign = held["demo"][:3], held["bob"][0]
        assert status(ask(five, CANCEL_MY_JOBS, integers("job-ids", *mine, foreign))) == 0x0406
        assert status(ask(five, CANCEL_MY_JOBS, integers("job-ids", foreign))) == 0x0406
        assert len(listed(five)) == 3 * len(held["demo"])
        assert status(ask(five, CANCEL_MY_JOBS, integers("job-ids", *mine))) == 0
        assert sorted(listed(five, MINE)) == sorted(held["demo"][3:])

    def test_what_the_queue_has_come_to(self, five: Fleet, held: dict[str, list[int]]) -> None:
        left = listed(five)
        for _ in range(4):
            owner = next(name for name in PEOPLE if left[0] in held[name])
            other = next(name for name in PEOPLE if name != owner)
            code, _ = program(five, "cancel", "office", user=other)
            assert code == 1
            code, said = program(five, "cancel", "office", user=owner)
            assert code == 0, said
            left = left[1:]
            assert listed(five) == left

    def test_everybodys_jobs_are_for_administrators(self, five: Fleet, held: dict[str, list[int]]) -> None:
        code, _ = program(five, "cancel", "-a")
        assert code == 1
        assert len(listed(five)) == 3 * len(held["demo"])
        code, said = program(five, "cancel", "-a", user="admin")
        assert code == 0, said
        assert listed(five) == []

    def test_administrators_cancel_anybodys_named_jobs(self, five: Fleet, held: dict[str, list[int]]) -> None:
        named = [held["bob"][0], held["demo"][1], held["alice"][2]]
        assert ask(five, CANCEL_JOBS, integers("job-ids", *named)) == b""
        assert status(ask(five, CANCEL_JOBS, integers("job-ids", *named), user="admin")) == 0
        assert set(listed(five)) == {job for jobs in held.values() for job in jobs} - set(named)


class TestPhone:
    """What Android's print service does (Mopria): two connections, one of which polls the queue."""

    def test_it_finds_follows_and_cancels_its_job(self, five: Fleet, held: dict[str, list[int]]) -> None:
        kind = attribute(0x49, "document-format", "application/octet-stream")
        assert status(ask(five, 0x0004, kind, user="bob")) == 0
        for job in held["bob"]:
            ask(five, CANCEL_JOB, integers("job-id", job), user="bob")
        for number in range(2 * NODES):
            body = ippwire.print_job(attribute(0x42, "job-name", f"photo {number}"), groups=HELD)
            job = ippwire.integers(five.ipp(body, "bob")[1], "job-id")[0]
            wanted = keyword("requested-attributes", "job-id", "job-state", "job-state-reasons", "job-name")
            polled = ask(five, GET_JOBS, MINE, wanted, user="bob")
            assert ippwire.integers(polled, "job-id") == [job]
            first = ippwire.integers(polled, "job-id")[0]
            assert status(ask(five, CANCEL_JOB, integers("job-id", first), user="bob")) == 0
            assert listed(five, MINE, user="bob") == []
            ended = keyword("which-jobs", "completed")
            assert job in listed(five, MINE, ended, user="bob")


class TestSubscriptions:
    PULL = b"\x06" + attribute(0x44, "notify-pull-method", "ippget") + keyword("notify-events", "job-created")

    def test_all_are_listed_and_events_of_several_nodes_come_together(self, five: Fleet) -> None:
        made: list[int] = []

        def on_each() -> bool:
            made.append(self.subscribe(five))
            return {slot_of(one) for one in made} == set(range(1, NODES + 1))

        eventually(on_each)
        listed = ask(five, 0x0019, attribute(0x22, "my-subscriptions", b"\1"))
        assert set(made) <= set(ippwire.integers(listed, "notify-subscription-id"))
        assert ippwire.integers(listed, "notify-subscription-id") == sorted(
            ippwire.integers(listed, "notify-subscription-id")
        )
        mine = {create(five, "demo", "my secret") for _ in range(NODES)}
        others = {create(five, "bob", "bob's secret") for _ in range(NODES)}
        answer = ask(five, 0x001C, integers("notify-subscription-ids", *made))
        assert status(answer) == 0
        assert set(ippwire.integers(answer, "notify-job-id")) == mine | others
        assert set(ippwire.values(answer, "job-name")) == {b"my secret"}
        assert status(ask(five, 0x001C, integers("notify-subscription-ids", *made), user="bob")) != 0
        for user in ("demo", "bob"):
            ask(five, CANCEL_MY_JOBS, user=user)

    def subscribe(self, fleet: Fleet) -> int:
        answer = ask(fleet, 0x0016, groups=self.PULL)
        return ippwire.integers(answer, "notify-subscription-id")[0]

    def test_only_the_owner_subscribes_to_a_job(self, five: Fleet, held: dict[str, list[int]]) -> None:
        for job in held["demo"][:NODES]:
            groups = self.PULL + integers("notify-job-id", job)
            assert status(ask(five, 0x0016, groups=groups, user="bob")) == 0x0406
            assert status(ask(five, 0x0016, groups=groups)) == 0
