"""Everything that fleet.toml can say.

A value given in the environment (`CUPSFLEET_NODES__MIN=3`) wins over the file, the file over the default. Every field
says its unit, its default and why; `controller.config_file` reads the file and prints all this as JSON Schema.
"""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from controller.config_values import HostPort, Port, Seconds, Section, Zone

ENV_PREFIX = "CUPSFLEET_"


class FrontDoor(Section):
    """The one address that people print to."""

    port: Port = 8631
    """TCP port of IPP over TLS and of the dashboard. Default 8631: 631 is taken where a local CUPS runs."""
    more_ports: tuple[Port, ...] = ()
    """Each opens one more HAProxy with the same rules, so that one may be updated or lost."""
    listen: Annotated[str, Field(pattern=r"^[0-9A-Fa-f:.*]+$")] = "*"
    """Local address to listen on; `*` is all of them."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")] = "localhost"
    """Host name that users print to. It stands in the certificate and in every URI a node hands out."""
    certificate: Path | None = None
    """PEM file with certificate chain and private key. Left out: a self-signed one is made at the first start."""
    authentication: Literal["basic"] = "basic"
    """How people prove who they are: HTTP Basic over TLS against the users in the state folder."""


class Nodes(Section):
    """The CUPS servers behind the door."""

    driver: Literal["process"] = "process"
    """What a new node is: `process` is a cupsd of its own on this machine. Servers elsewhere stand in `existing`."""
    min: Annotated[int, Field(ge=1, le=200)] = 2
    """Nodes that serve at least; one more is ordered when there are fewer. Default 2: one may die unnoticed."""
    max: Annotated[int, Field(ge=1, le=200)] = 8
    """Nodes that serve at most."""
    existing: tuple[HostPort, ...] = ()
    """CUPS servers that someone else runs and that belong to the fleet, as HOST:PORT. Pages are counted there by CUPS
    itself (`estimated`), and no limit of an account holds a job."""
    ca_file: Path | None = None
    """Certificates that those servers' own must lead to (PEM). Left out: any certificate is taken."""
    price_per_hour: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    """What one node costs in an hour, in the site's currency; shown beside the fleet's size."""
    start_timeout: Annotated[Seconds, Field(gt=0)] = 30.0
    """Time from its start within which a node must answer, else it is started again."""
    drain_deadline: Annotated[Seconds, Field(ge=0)] = 3600.0
    """A node that is retired and still has jobs after this time has them moved to other nodes; nothing is killed.
    Default 1h: most printers are given paper by then."""
    quarantine: Annotated[Seconds, Field(ge=0)] = 3600.0
    """Time in which the address of a node that left is not given to another one. Default 1h: as long as a proxy's
    worker, left behind by a reload, may still carry an upload to the old one."""


class Printer(Section):
    """A queue that stands on every node."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,127}$")]
    """Name of the queue, the last part of the URI that people print to."""
    device: Annotated[str, Field(pattern=r"^(virtual|[a-z][a-z0-9+.-]*:.+)$")]
    """Device URI as CUPS writes it (`socket://10.1.2.3:9100`), or `virtual`: a sink that keeps each document."""
    model: Annotated[str, Field(min_length=1)] = "raw"
    """`raw` (documents pass unchanged), `everywhere`, a PPD file's path, or a model as `lpinfo -m` lists it."""
    options: dict[str, str] = Field(default_factory=dict)
    """Default job options, such as sides = "two-sided-long-edge"."""
    info: str = ""
    """Description that people see."""
    location: str = ""
    """Where the printer stands."""


class VirtualPrinter(Section):
    """The socket sink behind printers whose device is `virtual`."""

    pages_per_minute: Annotated[int, Field(ge=0)] = 0
    """Speed; 0 is as fast as documents arrive."""
    parallel: Literal["one", "many"] = "many"
    """Whether it takes one job at a time, as a real printer does, or many."""


class Health(Section):
    """When a node is taken for unhealthy or dead, and what holds such a verdict back."""

    interval: Annotated[Seconds, Field(ge=0.2, le=60)] = 1.0
    """Time between two looks at the whole fleet."""
    deadline: Annotated[Seconds, Field(gt=0, le=60)] = 3.0
    """Time within which a node must answer the prober. A busy node answers late, so keep it generous."""
    dead_after: Annotated[Seconds, Field(ge=1)] = 10.0
    """A node that runs but is silent to the prober and to every proxy for this long is dead and started again."""
    restart_backoff_max: Annotated[Seconds, Field(ge=1)] = 60.0
    """Waiting time between restarts doubles from 1 s up to this."""
    max_restarts: Annotated[int, Field(ge=1, le=1000)] = 8
    """A node that died this often without serving for five minutes in between is given up: its jobs are moved from its
    spool to other nodes, and a new one takes its place. Default 8: two to three minutes of trying."""
    fall: Annotated[int, Field(ge=1, le=100)] = 3
    """Bad answers in a row that make a ready node unhealthy. Default 3: one hiccup is none, three seconds are."""
    rise: Annotated[int, Field(ge=1, le=1000)] = 5
    """Good answers in a row that make it ready again. More than `fall`, so that a node on the edge does not flap."""
    slow_after: Annotated[Seconds, Field(gt=0)] = 1.0
    """An answer that takes longer is bad, if it also takes three times as long as most other nodes'. A busy node
    answers in a tenth of this; when all are slow it is the machine, and moving work helps nobody."""
    stuck_after: Annotated[Seconds, Field(ge=10)] = 120.0
    """A job that waits for so long in a queue that is idle on its node makes that node unhealthy. cupsd starts a job
    within a second."""
    long_print: Annotated[Seconds, Field(ge=10)] = 3600.0
    """A job that prints for longer is named by `status`, unless its printer says what is wrong. It is no verdict on the
    node: its printer or the way there hangs, and a job that prints can't be moved without printing twice. Default 1h:
    a thousand pages are printed by then."""
    spool_reserve_mb: Annotated[int, Field(ge=0)] = 64
    """Megabytes that must be free where a node spools, or a tenth of a disk smaller than ten times this. Default 64:
    room for a large document more than are arriving."""
    tls_interval: Annotated[Seconds, Field(ge=1)] = 30.0
    """Time between two questions over TLS to each node, as the proxies ask; the ordinary ones are plain, for a
    handshake costs the node ten times as much. After a connection that failed at a proxy it is asked at once."""
    proof_interval: Annotated[Seconds, Field(ge=10)] = 600.0
    """Time between two proofs of each node that serves: a job of the fleet's own that runs to its end there, without
    paper. Default 10m: that is 53,000 of the million ids of a slot in a year."""
    replace_after: Annotated[Seconds, Field(ge=1)] = 300.0
    """A node that stays unhealthy for this long is replaced: the new one is ordered first. Default 5m: a disk is
    cleared and a queue is started again by then, or it never will be."""
    max_removed_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """When more than this share of the nodes looks bad at once, nothing is taken away: it is rather the machine, the
    network or the prober. Default half."""

    @property
    def stale_after(self) -> float:
        """Seconds after which a reading decides nothing: three looks, each as long as one silent node makes it."""
        return 3 * max(self.interval, self.deadline)


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Schedule(Section):
    """A time of some days in which more nodes serve, whatever the load says; it adds and never removes."""

    days: tuple[Weekday, ...] = WEEKDAYS
    """Days of the week on which it begins, unless they are holidays. Default: every day, or none where `dates` are
    given."""
    dates: tuple[date, ...] = ()
    """Dates on which it begins too, such as an exam's; also those that are holidays, which so get their own times."""
    start: time
    """By scaling.time_zone, as 07:45:00 or "07:45". Begin earlier than the work by the time that a node needs to
    start."""
    end: time
    """By scaling.time_zone; one that is not after `start` is that of the next day."""
    min: Annotated[int, Field(ge=1, le=200)]
    """Nodes that serve at least in that time, instead of nodes.min."""

    @model_validator(mode="before")
    @classmethod
    def _dates_alone(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("dates") and "days" not in values:
            return {**values, "days": ()}
        return values

    @model_validator(mode="after")
    def _some_day(self) -> Schedule:
        if not self.days and not self.dates:
            raise ValueError("days and dates are empty, allowed is one day or date or more")
        return self


class Scaling(Section):
    """When the fleet grows and shrinks between nodes.min and nodes.max."""

    policy: Literal["wait-target", "threshold"] = "wait-target"
    """What says how many nodes the work needs: `wait-target` has `target_share` of the jobs begin to print within
    `target_wait`, by measured times; `threshold` counts open jobs for each node. Default wait-target, which waits less
    at fewer node-hours (docs/benchmarks.md); threshold where a depth is given and no policy."""
    queue_depth_per_node: Annotated[float, Field(gt=0)] = 4.0
    """threshold: more open jobs for each node than this add nodes. Jobs that are held, wait for paper or stand in a
    stopped queue are not counted. Default 4: three wait while one prints."""
    queue_depth_per_node_down: Annotated[float, Field(ge=0)] = 1.0
    """threshold: nodes go when those that are left would have fewer open jobs each. Must be less than
    `queue_depth_per_node`, so that one of both is always silent."""
    target_wait: Annotated[Seconds, Field(gt=0)] = 30.0
    """wait-target: time from a job's acceptance to its first page."""
    target_share: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """wait-target: share of the jobs that must make it."""
    cool_down: Annotated[Seconds, Field(ge=0)] = 300.0
    """A node goes only when no look in this time asked for it, or while one takes to start, if that is longer; one that
    an administrator added stays for so long.
    Default 5m: switching idle nodes off at once and on again costs more than it saves."""
    cool_down_starts: Annotated[float, Field(ge=0)] = 10.0
    """wait-target: where a node takes less than a tenth of that to start, as measured, so many starts are long enough
    (at least 20 s): what is back soon may go early. 0 is always `cool_down`."""
    step: Annotated[int, Field(ge=1, le=200)] = 4
    """Nodes that may be on their way at once because of load."""
    max_node_hours_per_day: Annotated[float, Field(ge=0)] = 0.0
    """Node-hours of a day (UTC) beyond which only nodes.min serve: what they need until midnight is set aside, and each
    other node goes while its `cool_down` can still be paid. 0 is no limit."""
    dry_run: bool = False
    """Decide, and tell what would be done, but do it not."""
    forecast: bool = True
    """Expect what came at this time of two of the last four weeks, and have those nodes there that could not be started
    in time when it comes: all where a start takes as long as `target_wait`, hardly any where it takes seconds. It adds
    and never removes."""
    holidays: tuple[date, ...] = ()
    """Days, by `time_zone`, on which no schedule begins but one for that date, without forecast, and from
    which nothing is learned."""
    schedule: tuple[Schedule, ...] = ()
    """Times of the week in which more nodes serve."""
    time_zone: Zone = ""
    """By whose clock the times of `schedule` are meant, days begin, and weeks are compared. Left out: the machine's
    own."""

    @model_validator(mode="before")
    @classmethod
    def _who_gives_a_depth_counts_jobs(cls, values: Any) -> Any:
        depths = {"queue_depth_per_node", "queue_depth_per_node_down"}
        if isinstance(values, dict) and "policy" not in values and depths & values.keys():
            return {**values, "policy": "threshold"}
        return values


class WholeQueue(Section):
    """How questions about the whole queue are answered, such as `lpstat`."""

    deadline: Annotated[Seconds, Field(ge=0.2, le=30)] = 2.0
    """Time that each node has for its part of an answer; of a later one the jobs are told as they were last seen."""


class StateSection(Section):
    """What is remembered, and for how long."""

    keep_events: Annotated[Seconds, Field(ge=3600)] = 90 * 86400.0
    """Events, answered commands and recorded decisions older than this are deleted."""
    keep_jobs: Annotated[Seconds, Field(ge=86400)] = 400 * 86400.0
    """Ended jobs older than this are deleted. Default 400 days: a year can be compared with the one before."""


Money = Annotated[Decimal, Field(ge=0, decimal_places=6, max_digits=15)]
"""In the site's currency; written 0.035 or "0.035", which is exact as well."""


class Price(Section):
    """What pages cost. The first one that fits a page counts; what is left out fits every page."""

    since: date = date(1970, 1, 1)
    """From this day on. Prices of one day are a whole list: a newer list replaces the older one, and old jobs keep
    what they were charged."""
    printers: tuple[str, ...] = ()
    """Names of queues; * stands for anything, here and below."""
    departments: tuple[str, ...] = ()
    """As in costs.accounts."""
    media: tuple[str, ...] = ()
    """PWG names such as iso_a3_297x420mm, or iso_a3_*."""
    colour: bool | None = None
    """true for pages in colour, false for black ones."""
    sides: Literal["", "one-sided", "two-sided"] = ""
    """How the job is printed."""
    hours: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")] = ""
    """Time of day, 18:00-06:00 goes over midnight; the first minute belongs to it, the last does not."""
    per_page: Money = Decimal(0)
    """For each printed side of a sheet (impression)."""
    per_sheet: Money = Decimal(0)
    """For each sheet of paper."""
    per_job: Money = Decimal(0)
    """For each job."""
    minimum: Money = Decimal(0)
    """A job costs at least this."""

    def covers(self, moment: time) -> bool:
        if not self.hours:
            return True
        begin, end = (time.fromisoformat(part) for part in self.hours.split("-"))
        return begin <= moment < end if begin <= end else moment >= begin or moment < end


class Quota(Section):
    """How much may be printed in a period; a job that would go beyond is held. All that fit a person hold."""

    users: tuple[str, ...] = ()
    """Names; * stands for anything. Left out: everybody."""
    departments: tuple[str, ...] = ()
    """As in costs.accounts."""
    per: Literal["day", "week", "month", "year"] = "month"
    """Periods begin at midnight, weeks on Monday, by costs.time_zone."""
    pages: Annotated[int | None, Field(ge=0)] = None
    """Pages at most."""
    amount: Annotated[Decimal | None, Field(ge=0, decimal_places=6, max_digits=15)] = None
    """Money at most."""


class SharedAccount(Section):
    """An account that pays for jobs which name it in job-account-id or job-billing."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """As jobs name it."""
    users: tuple[str, ...] = ()
    """Who may use it, * for anything."""
    departments: tuple[str, ...] = ()
    """Whose people may use it. With neither users nor departments: everybody."""


class Costs(Section):
    """Who pays what."""

    currency: Annotated[str, Field(min_length=1, max_length=8)] = "EUR"
    """Shown beside amounts. Another one converts nothing: amounts of before keep their numbers."""
    time_zone: Zone = ""
    """Where days and months begin, and the hours of prices. Left out: the machine's own."""
    prices: tuple[Price, ...] = ()
    """Without any, pages are counted and cost nothing."""
    accounts: Path | None = None
    """CSV file with the columns user, department and, if you like, opening_balance; the first line names them. Read
    again when it changes."""
    shared_accounts: tuple[SharedAccount, ...] = ()
    """Accounts that pay for jobs which name them. Another name in a job is a remark, and the person pays."""
    quotas: tuple[Quota, ...] = ()
    """How much may be printed in a period."""
    prepaid: bool = False
    """Whether a job is held when less was paid in than it costs."""
    account_required: bool = False
    """Whether a job that names no shared account is held."""
    when_unreachable: Literal["allow", "hold"] = "allow"
    """What becomes of a job when the controller can't be asked whether its account has a limit."""
    unknown_pages: Annotated[int, Field(ge=0, le=10_000)] = 1
    """Pages charged for a job that was printed and could not be counted."""
    unknown_colour: Literal["grey", "colour"] = "grey"
    """What a page costs of which it is not known whether it is in colour."""

    @property
    def limited(self) -> bool:
        """Whether a job can be held for its account's sake."""
        return bool(self.quotas) or self.prepaid or self.account_required or bool(self.shared_accounts)


def _virtual_office() -> tuple[Printer, ...]:
    return (Printer(name="office", device="virtual", info="The office printer"),)


class Settings(BaseSettings):
    """All of fleet.toml."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, title="fleet.toml"
    )

    front_door: FrontDoor = FrontDoor()
    nodes: Nodes = Nodes()
    printers: Annotated[tuple[Printer, ...], Field(min_length=1)] = Field(default_factory=_virtual_office)
    virtual_printer: VirtualPrinter = VirtualPrinter()
    health: Health = Health()
    scaling: Scaling = Scaling()
    whole_queue: WholeQueue = WholeQueue()
    costs: Costs = Costs()
    state: StateSection = StateSection()

    def model_post_init(self, context: Any, /) -> None:
        if self.nodes.max < self.nodes.min:
            raise ValueError(f"nodes.max is {self.nodes.max}, allowed is nodes.min ({self.nodes.min}) or more")
        depths = self.scaling.queue_depth_per_node_down, self.scaling.queue_depth_per_node
        if depths[0] >= depths[1]:
            raise ValueError(
                f"scaling.queue_depth_per_node_down is {depths[0]:g}, allowed is less than "
                f"scaling.queue_depth_per_node ({depths[1]:g})"
            )
        budget, least = self.scaling.max_node_hours_per_day, 24 * self.nodes.min
        if 0 < budget < least:
            raise ValueError(
                f"scaling.max_node_hours_per_day is {budget:g}, allowed is 0 (no limit), or what nodes.min "
                f"({self.nodes.min}) needs in a day ({least}) or more"
            )
        names = [printer.name.lower() for printer in self.printers]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"printers: the name {sorted(twice)[0]!r} is given twice, allowed is once")
        ports = (self.front_door.port, *self.front_door.more_ports)
        if len(set(ports)) != len(ports):
            raise ValueError(f"front_door: the ports {ports} repeat, allowed is each one once")

    @property
    def slots(self) -> int:
        """Server lines in the proxies: room for every node plus those that still drain."""
        return max(16, 2 * self.nodes.max + len(self.nodes.existing))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file: `load` hands the file's content in as init arguments."""
        return env_settings, init_settings
