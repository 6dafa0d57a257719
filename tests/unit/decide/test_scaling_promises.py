"""What holds for any load: more of it never lowers the size, doubt never does, and a constant one ends in one size."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.config import Scaling, Schedule, Settings
from controller.decide.policies import Fleet, forecast, threshold, wait_target
from controller.decide.scaling import scale
from controller.jobs.demand import measure
from controller.snapshot import Backlog, Demand, Load, NodeSight, NodeState, QueueWork, Wish
from tests.builders import sight, snapshot
from tests.unit.decide.loads import KNOWN, leaving, loaded, plan, with_scaling

MONDAY_NOON = datetime(2027, 1, 4, 12, tzinfo=UTC)
POLICIES = st.sampled_from(["wait-target", "threshold"])
AMOUNT = st.floats(0, 2000) | st.floats(0, 120)
RATE = st.floats(0, 2)
WORKS = st.tuples(RATE, RATE, AMOUNT, AMOUNT)
"""Jobs a second over minutes and in the last one, seconds of work that wait, and of the job that prints."""


def asked_for(works, nodes: int, start_up: float, policy: str = "wait-target") -> int:
    """What the policy asks for where so many nodes serve."""
    rate, latest, waiting, current = works
    load = Load((Demand("office", rate, rate, 8.0, 1.5, latest=latest),), start_up=start_up)
    work = QueueWork("office", round((waiting + current) / 8.0), waiting + current, current)
    fleet = Fleet(nodes, nodes, (Backlog((work,)),), load)
    return (threshold if policy == "threshold" else wait_target)(fleet, Scaling()).nodes


@given(WORKS, WORKS, st.integers(1, 20), st.floats(0, 200), POLICIES)
@example((0.0, 0.0, 100.0, 47.0), (0.0, 0.0, 0.0, 10.0), 1, 2.0, "wait-target")
def test_more_load_never_asks_for_fewer(works, more, nodes, start_up, policy) -> None:
    larger = tuple(map(sum, zip(works, more, strict=True)))
    assert asked_for(larger, nodes, start_up, policy) >= asked_for(works, nodes, start_up, policy)


MOMENTS = st.lists(st.floats(1, 299) | st.floats(1, 59), max_size=80)
"""Seconds ago at which jobs came."""


@given(MOMENTS, MOMENTS, AMOUNT, st.integers(1, 20), st.floats(0, 200))
@example([2.0 * number + 1 for number in range(30)] + [100.0] * 20, [100.0] * 6, 0.0, 6, 2.0)
def test_more_arrivals_never_ask_for_fewer(ago, more, waiting, nodes, start_up) -> None:
    """Whenever they came: those of before may make a busy minute usual, and count themselves."""
    now = 1.8e9

    def asked(ago: list[float]) -> int:
        demand = measure("office", sorted(now - seconds for seconds in ago), [20.0] * 99, now)
        work = QueueWork("office", round(waiting / 20), waiting)
        return wait_target(
            Fleet(nodes, nodes, (Backlog((work,)),), Load((demand,), start_up=start_up)), Scaling()
        ).nodes

    assert asked(ago + more) >= asked(ago)


@given(
    st.lists(st.integers(0, 30), min_size=2, max_size=6),
    st.integers(0, 5),
    st.integers(0, 30),
    st.integers(0, 6),
    POLICIES,
)
def test_more_jobs_never_lower_desired(jobs, where, more, well, policy) -> None:
    """Also those of servers that are not well."""
    larger = [count + more * (index == where % len(jobs)) for index, count in enumerate(jobs)]

    def desired(counts: list[int]) -> int:
        states = [NodeState.READY if slot <= max(1, well) else NodeState.UNHEALTHY for slot in range(1, 7)]
        sights = (loaded(slot, count, state=states[slot - 1], in_state=60.0) for slot, count in enumerate(counts, 1))
        return plan(*sights, settings=with_scaling(policy=policy)).scale.desired

    assert desired(larger) >= desired(jobs)


def unseen(slot: int, state: NodeState, stale: bool) -> NodeSight:
    """One that is silent for a second, or of which only an old reading is known, by which it was idle."""
    if stale:
        return loaded(slot, 0, state=state, reading_age=60.0)
    return sight(slot, state, error="timed out", silent_for=1.0)


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 30)), min_size=2, max_size=6),
    st.integers(0, 6),
    st.booleans(),
    POLICIES,
    st.sampled_from([NodeState.READY, NodeState.UNHEALTHY]),
    st.tuples(st.integers(0, 8), RATE, st.floats(0, 60)),
    st.sampled_from([0.0, 50.0]),
)
def test_missing_data_never_shrinks(jobs, where, stale, policy, unwell, known, budget) -> None:
    counts = [*jobs[:where], None, *jobs[where:]]
    sights = [
        unseen(slot, unwell, stale) if count is None else loaded(slot, count) for slot, count in enumerate(counts, 1)
    ]
    wished, rate, used = known
    load = replace(KNOWN, wishes=(Wish(10.0, wished),), demands=(Demand("office", rate, rate, 8.0),), node_hours=used)
    found = plan(*sights, load=load, settings=with_scaling(policy=policy, max_node_hours_per_day=budget))
    assert budget or found.scale.desired >= len(sights)
    assert leaving(found) == []


@given(WORKS, RATE, RATE, st.integers(1, 20), st.floats(0, 200), POLICIES)
def test_a_forecast_only_adds(works, expected, more, nodes, start_up, policy) -> None:
    rate, latest, waiting, current = works
    work = Backlog((QueueWork("office", 1, waiting + current, current),))

    def desired(forecast: float, believed: bool = True) -> int:
        demands = (Demand("office", rate, rate, 8.0, 1.5, latest=latest, forecast=forecast),)
        load = replace(KNOWN, demands=demands, start_up=start_up, local=MONDAY_NOON)
        seen = (sight(slot, backlog=work if slot == 1 else Backlog()) for slot in range(1, nodes + 1))
        settings = with_scaling(1, 30, policy=policy, forecast=believed)
        return scale(snapshot(*seen, load=load), settings, nodes, coming=0).desired

    assert desired(expected + more) >= desired(expected) >= desired(expected, believed=False)


@given(st.floats(0.01, 2), st.integers(1, 20), st.floats(0.1, 200), st.floats(0, 60))
def test_it_asks_for_no_fewer_where_nodes_start_slower(expected, nodes, start_up, longer) -> None:
    def asked(start_up: float) -> int:
        load = Load((Demand("office", 0.0, 0.0, 8.0, forecast=expected),), start_up=start_up)
        found = forecast(Fleet(nodes, nodes, (), load), Scaling())
        return found.nodes if found else 0

    assert asked(start_up + longer) >= asked(start_up)


PASS = 60.0
"""Seconds between two passes of `sizes`."""


def sizes(works, nodes: int, load: Load, settings: Settings, passes: int) -> list[int]:
    """A fleet over so many passes in which nothing changes but its size: all bounds hold, growth is there by the next
    pass, and one node goes at a time."""
    rate, latest, waiting, current = works
    work = Backlog((QueueWork("office", round((waiting + current) / 8.0), waiting + current, current),))
    demands = (Demand("office", rate, rate, 8.0, 1.5, latest=latest, forecast=latest / 2),)
    found = [nodes]
    wished: list[tuple[int, int]] = []
    for number in range(passes):
        seen = (sight(slot, backlog=work if slot == 1 else Backlog()) for slot in range(1, found[-1] + 1))
        wishes = tuple(Wish((number - then) * PASS, wanted) for then, wanted in wished)
        known = replace(load, demands=demands, wishes=wishes)
        decided = scale(snapshot(*seen, load=known), settings, found[-1], coming=0)
        wished.append((number, decided.wanted))
        found.append(max(decided.desired, found[-1] - 1))
    return found


@given(
    WORKS,
    st.integers(1, 20),
    st.floats(0, 200),
    POLICIES,
    st.sampled_from([1, 4, 20]),
    st.floats(0.5, 20),
    st.floats(0, 0.99),
    st.sampled_from([0.0, 60.0]),
    st.floats(0, 24),
    st.sampled_from([(), (Schedule(start=time(8), end=time(18), min=5),)]),
)
@settings(max_examples=60)
def test_a_constant_load_ends_in_a_constant_size(
    works, nodes, start_up, policy, step, up, share, budget, left, schedule
) -> None:
    scaling = {"policy": policy, "step": step, "schedule": schedule, "max_node_hours_per_day": budget}
    depths = {"queue_depth_per_node": up, "queue_depth_per_node_down": up * share}
    load = replace(KNOWN, start_up=start_up, local=MONDAY_NOON, node_hours=30.0 - left, hours_left=12.0)
    found = sizes(works, nodes, load, with_scaling(1, 12, **scaling, **depths), passes=60)
    assert len(set(found[-20:])) == 1, found


@given(WORKS, st.integers(1, 20), st.floats(0, 200))
def test_so_does_one_by_measured_times(works, nodes, start_up) -> None:
    """At most one step up, and one back: those on their way were needed until they served."""
    sizes = [nodes]
    for _ in range(4):
        sizes.append(max(1, asked_for(works, sizes[-1], start_up)))
    assert sizes[3] == sizes[4], sizes
