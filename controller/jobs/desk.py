"""Commands about a single job: cancel-job, hold-job, release-job, move-job, each with the job-uuid as its argument;
behind it that of move-job may name the node to go to.

Who asked is judged here, whatever the page thought: one's own jobs, or any job for an administrator. The job's node is
asked in the name of the one who asked, so that it judges once more, and then what has become of the job; only that is
the outcome (RFC 8011, 4.3.3 to 4.3.6). A move is ordered from the mover.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from controller.decide.commands import COMMAND_EXPIRES
from controller.jobs import remote
from controller.jobs.mover import Mover
from controller.jobs.moves import MoveTable
from controller.jobs.table import ENDED, OPEN, Job, JobTable
from controller.plan import Answer
from controller.snapshot import Command
from controller.store import Store
from probes import ipp
from probes.errors import Overdue, ProbeError, Refused, Unreachable

READ_BACK = 3.0
"""Seconds in which a node should do what it was told; then its job's state is told as it is."""
PAUSE = 5.0
"""Seconds before a node that did not answer is asked again."""
DONE: Mapping[str, tuple[str, ...]] = {
    "cancel-job": ENDED,
    "hold-job": ("held",),
    "release-job": ("pending", "processing", "stopped", *ENDED),
}
"""States that a job should be in afterwards."""
FIT: Mapping[str, tuple[str, ...]] = {
    "cancel-job": OPEN,
    "hold-job": ("pending", "held"),
    "release-job": ("held", "stopped"),
    "move-job": ("pending", "held", "stopped"),
}
"""States that it must be in before."""


class No(Exception):
    """It is refused; the message says why."""


@dataclass
class Desk:
    """Runs in the mover's thread, so that nothing is done to a job while it is taken from one node to another."""

    open_store: Callable[[], Store]
    mover: Mover
    administrators: Callable[[], Collection[str]]
    """Their names, as the user list has them now."""
    _pauses: dict[str, float] = field(default_factory=dict)
    """By node that did not answer: when it may be asked again, in monotonic seconds."""

    def work(self) -> None:
        """Bring every command about a job as far as it goes now. Raises StoreError."""
        with self.open_store() as store:
            for command in store.open_commands(of_jobs=True):
                if answer := self._answered(command, store):
                    with store.transaction():
                        store.answer(answer)
                        if answer.state != "running":
                            said = f"command {command.id} {answer.state}: {answer.outcome}"
                            store.event("command", said, answer.node)

    def _answered(self, command: Command, store: Store) -> Answer | None:
        """What becomes of a command; None when it waits."""
        late = command.age > COMMAND_EXPIRES
        try:
            if command.state == "running" and command.verb == "move-job":
                return _moved(command, store)
            if command.state == "asked" and late:
                raise No(f"it waited {command.age:.0f} s for a controller; ask again if it is still wanted")
            job = self._job(command, store)
            if MoveTable(store).open_of(job.uuid):
                if late:
                    raise No(f"job {job.id} is still on its way to another server")
                return None
            return self._carried_out(command, job, store)
        except No as why:
            return Answer(command.id, "refused", str(why), command.node)
        except (Unreachable, Overdue) as error:
            return self._later(command, str(error), late)
        except ProbeError as error:
            return Answer(command.id, "failed", str(error), command.node)

    def _later(self, command: Command, error: str, late: bool) -> Answer | None:
        if late:
            return Answer(command.id, "failed", error, command.node)
        return None if command.state == "running" else Answer(command.id, "running", f"{error}; it is tried again")

    def _job(self, command: Command, store: Store) -> Job:
        """The job that it is about, if the one who asked may have it done. Raises No."""
        if command.verb not in FIT:
            raise No(f"{command.verb!r} is no command for a job; allowed are {', '.join(FIT)}")
        uuid, _ = _meant(command)
        job = JobTable(store).by_uuid(uuid)
        if not self._rules(command):
            if command.verb == "move-job":
                raise No(f"{command.asked_by} is no administrator, and only those move jobs")
            if job is None or job.owner.lower() != command.asked_by.lower():
                raise No(f"{command.asked_by} has no such job")
        if job is None:
            raise No(f"there is no job {uuid}")
        if not job.open:
            raise No(f"job {job.id} is {job.state} already")
        return job

    def _rules(self, command: Command) -> bool:
        """Whether the one who asked may do anything: at the door an administrator, else whoever runs the fleet."""
        return command.channel == "shell" or command.asked_by in self.administrators()

    def _carried_out(self, command: Command, job: Job, store: Store) -> Answer | None:
        node = next((node for node in store.nodes() if node.name == job.node), None)
        if node is None:
            raise No(f"{job.node}, which had job {job.id}, has left the fleet")
        if self._pauses.get(node.name, 0.0) > time.monotonic():
            return self._later(command, f"{node.name} did not answer", command.age > COMMAND_EXPIRES)
        operator = self.mover.server(node, store)
        try:
            found = remote.standing(operator, job.id)
            if found is None or found.uuid != job.uuid:
                raise No(f"{node.name} does not know job {job.id} any more")
            if found.state not in FIT[command.verb]:
                raise No(f"job {job.id} is {found.state}, so {_cannot(command.verb)}")
            if command.verb == "move-job":
                return self._order(command, job, store)
            asked = operator if self._rules(command) else self.mover.server(node, store, command.asked_by)
            if (command.verb, found.state) == ("release-job", "stopped"):  # cupsd releases only what is held
                remote.hold(asked, job.id)
            _tell(asked, command.verb, job.id)
            state = _settled(operator, job, DONE[command.verb])
        except Refused as error:
            return Answer(command.id, "failed", str(error), node.name)
        except ProbeError:
            self._pauses[node.name] = time.monotonic() + PAUSE
            raise
        done = state in DONE[command.verb]
        return Answer(command.id, "done" if done else "failed", f"job {job.id} is {state}", node.name)

    def _order(self, command: Command, job: Job, store: Store) -> Answer:
        _, target = _meant(command)
        takers = [node.name for node in self.mover.takers(job.queue, job.node, store)]
        if not takers:
            raise No(f"no other server takes jobs of {job.queue} now")
        if target and target not in takers:
            raise No(f"{target} takes no jobs of {job.queue} now; these do: {', '.join(takers)}")
        with store.transaction():
            MoveTable(store).order(job, f"{command.asked_by} asked for it", target)
        return Answer(command.id, "running", f"job {job.id} goes to {target or 'another server'}", job.node)


def _meant(command: Command) -> tuple[str, str]:
    """The job-uuid, and the node that a job shall go to or ''."""
    uuid, _, target = command.argument.partition(" ") if command.verb == "move-job" else (command.argument, "", "")
    return uuid, target


def _cannot(verb: str) -> str:
    return f"it can't be {dict(zip(FIT, ('cancelled', 'held', 'released', 'moved'), strict=True))[verb]}"


def _tell(server: ipp.Server, verb: str, job: int) -> None:
    match verb:
        case "cancel-job":
            remote.end(server, job)
        case "hold-job":
            remote.hold(server, job)
        case "release-job":
            remote.free(server, job)


def _settled(server: ipp.Server, job: Job, wanted: Collection[str]) -> str:
    """The job's state once it is one of those, or as it is after a while. One that is purged has been cancelled."""
    until = time.monotonic() + READ_BACK
    while True:
        found = remote.standing(server, job.id)
        state = found.state if found and found.uuid == job.uuid else "canceled"
        if state in wanted or time.monotonic() > until:
            return state
        time.sleep(0.1)


def _moved(command: Command, store: Store) -> Answer | None:
    """What has become of the move that was ordered."""
    last = MoveTable(store).last_of(_meant(command)[0])
    if last is None or last.phase == "abandoned":
        return Answer(command.id, "failed", last.failure if last else "its move is not known any more", command.node)
    if last.phase == "done":
        return Answer(command.id, "done", f"job {last.old_id} is job {last.new_id} of {last.target} now", last.target)
    return None
