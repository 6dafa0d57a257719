"""What a fleet would have known or met, and a simulation does not: said wherever one is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.config import Settings
from controller.decide.scaling import TELLING
from controller.jobs.demand import contentions
from controller.simulate.trace import Trace
from controller.store import Store


def left_out(trace: Trace, settings: Settings, shared: Mapping[str, float], start_up: float) -> Iterator[str]:
    """Sentences. shared: as of `shared_devices`; nothing for jobs that no fleet has printed. start_up: seconds."""
    if settings.scaling.dry_run:
        yield "scaling.dry_run is true, so that nothing of this is done until it is false"
    if start_up > (timeout := settings.nodes.start_timeout):
        yield (
            f"a start takes {start_up:g} s and nodes.start_timeout is {timeout:g} s, so that no server would come up: "
            "each is started again and again; simulated ones are waited for"
        )
    if settings.scaling.forecast and not trace.learned:
        yield "nothing was learned before, for there is no earlier job: the first weeks have no forecast"
    for queue, share in sorted(shared.items()):
        yield (
            f"jobs of {queue} wait for each other at one device (each takes {share:.0%} longer for another one beside "
            "it); simulated ones print side by side, so that more servers seem to help more than they do"
        )


def shared_devices(store: Store, trace: Trace) -> dict[str, float]:
    """Queues of the trace behind which all servers wait for one device, with by how much (jobs/demand.py).
    Raises StoreError."""
    found = contentions(store, {job.queue for job in trace.simulated})
    return {queue: share for queue, share in found.items() if share >= TELLING}
