"""The database's shape, from the first version on. A migration that has been released is never changed."""

from __future__ import annotations

from controller.tables import Database, Migrations

migrations = Migrations("cupsfleet")


@migrations()  # type: ignore[untyped-decorator]
def m001_fleet(db: Database) -> None:
    """Nodes, slots, commands, events, decisions and facts."""
    db["nodes"].create(
        {
            "name": str,
            "slot": int,
            "driver": str,
            "host": str,
            "port": int,
            "state": str,
            "goal": str,
            "since": float,
            "reason": str,
            "failure": str,
            "deaths": int,
            "queues": str,
        },
        pk="name",
    )
    db["slots"].create({"slot": int, "highest_id": int, "released_at": float}, pk="slot")
    db["commands"].create(
        {
            "id": int,
            "verb": str,
            "argument": str,
            "asked_by": str,
            "asked_at": float,
            "state": str,
            "node": str,
            "outcome": str,
            "answered_at": float,
        },
        pk="id",
    )
    db["commands"].create_index(["state"])
    db["events"].create({"id": int, "at": float, "kind": str, "node": str, "text": str}, pk="id")
    db["events"].create_index(["at"])
    db["events"].create_index(["node", "at"])
    db["passes"].create({"id": int, "at": float, "sentence": str, "snapshot": str, "plan": str}, pk="id")
    db["passes"].create_index(["at"])
    db["facts"].create({"name": str, "value": str}, pk="name")


@migrations()  # type: ignore[untyped-decorator]
def m002_jobs(db: Database) -> None:
    """Every accepted job (controller/jobs/table.py), how far each node was read, and moves of jobs between nodes."""
    db["nodes"].add_column("lives", int, not_null_default=0)
    db["jobs"].create(
        {
            "uuid": str,
            "id": int,
            "node": str,
            "slot": int,
            "queue": str,
            "owner": str,
            "title": str,
            "state": str,
            "reasons": str,
            "why": str,
            "size_kb": int,
            "impressions": int,
            "created": int,
            "processing": int,
            "completed": int,
            "open": int,
            "seen": float,
        },
        pk="uuid",
    )
    # Open and lost jobs are few whatever the table's size; these two indexes hold nothing else.
    db.execute("create index jobs_open on jobs (node) where open = 1")
    db.execute("create index jobs_lost on jobs (seen) where state = 'lost'")
    db["jobs"].create_index(["id"])
    db["jobs"].create_index(["created"])
    db["jobs"].create_index(["owner", "created"])
    db["jobs"].create_index(["queue", "created"])
    db["jobs"].create_index(["node", "created"])
    db["collected"].create({"node": str, "last_id": int, "life": int}, pk="node")
    _moves(db)


def _moves(db: Database) -> None:
    db["moves"].create(
        {
            "number": int,
            "uuid": str,
            "queue": str,
            "owner": str,
            "source": str,
            "old_id": int,
            "target": str,
            "new_id": int,
            "phase": str,
            "hold": str,
            "reason": str,
            "failure": str,
            "begun_at": float,
            "changed_at": float,
        },
        pk="number",
    )
    db["moves"].create_index(["old_id"])
    db["moves"].create_index(["uuid"])
    db.execute("create index moves_open on moves (source) where phase not in ('done', 'abandoned')")


@migrations()  # type: ignore[untyped-decorator]
def m003_ledger(db: Database) -> None:
    """Attempts to print, how far each journal was read, the ledger (controller/costs), and its sums."""
    db["journals"].create({"path": str, "offset": int}, pk="path")
    db["attempts"].create({"run": str, "key": str, "node": str, "ended": float, "record": str}, pk="run")
    db["attempts"].create_index(["key"])
    # Jobs that have ended and are not in the ledger yet: a trigger knows every one, whatever clocks do.
    db["uncharged"].create({"uuid": str}, pk="uuid")
    for when in ("insert", "update"):
        db.execute(
            f"create trigger jobs_ended_{when} after {when} on jobs when new.open = 0 "
            "begin insert or ignore into uncharged (uuid) values (new.uuid); end"
        )
    db.execute("insert or ignore into uncharged (uuid) select uuid from jobs where open = 0")
    db["ledger"].create(
        {
            "id": int,
            "key": str,
            "kind": str,
            "at": int,
            "day": int,
            "user": str,
            "department": str,
            "account": str,
            "printer": str,
            "node": str,
            "job": int,
            "title": str,
            "pages": int,
            "sheets": int,
            "colour_pages": int,
            "amount": int,
            "origin": str,
            "facts": str,
            "written": int,
        },
        pk="id",
    )
    db["ledger"].create_index(["key"], unique=True)
    db["ledger"].create_index(["user", "day"])
    db["ledger"].create_index(["day"])
    db.execute("create index ledger_deposits on ledger (user, account) where kind = 'deposit'")
    for table in ("costs_by_day", "costs_by_month"):
        sums = dict.fromkeys(("jobs", "pages", "sheets", "colour_pages", "amount"), int)
        who = {"user": str, "department": str, "account": str, "printer": str}
        db[table].create({"period": int, **who, **sums}, pk=("period", *who))
    # What the fleet itself costs, by day: seconds of nodes that ran, that could have run, and that printed.
    seconds = dict.fromkeys(("node_seconds", "most_seconds", "busy_seconds"), float)
    db["fleet_costs"].create({"day": int, **seconds, "amount": int}, pk="day")


@migrations()  # type: ignore[untyped-decorator]
def m004_causes(db: Database) -> None:
    """Who gave a node its goal: what an administrator drained is not brought back by anything else."""
    db["nodes"].add_column("goal_by", str, not_null_default="")
    db.execute("update nodes set goal_by = 'administrator' where goal != 'serve'")


@migrations()  # type: ignore[untyped-decorator]
def m005_scalings(db: Database) -> None:
    """What was decided about the fleet's size, and why (controller/diary.py)."""
    db["scalings"].create({"id": int, "at": float, "decided": str}, pk="id")
    db["scalings"].create_index(["at"])


@migrations()  # type: ignore[untyped-decorator]
def m006_summaries(db: Database) -> None:
    """Sums by one name each, for reports over any time (controller/costs/ledger.py), and indexes for long lists."""
    db.execute(
        "create table costs_by_name (period integer, by text, name text, jobs integer, pages integer, sheets integer, "
        "colour_pages integer, amount integer, primary key (by, period, name)) without rowid"
    )
    db.execute(
        "create table costs_by_time (at integer primary key, jobs integer, pages integer, sheets integer, "
        "colour_pages integer, amount integer)"
    )
    fill_summaries(db)
    for column in ("printer", "department"):
        db["ledger"].create_index([column, "day"])
    db.execute("create index jobs_unusual on jobs (state, created) where open = 0 and state != 'completed'")
    # When jobs began to print, for how long they had waited.
    db["jobs"].create_index(["processing"])


def fill_summaries(db: Database) -> None:
    """Write those of m006 anew, from the sums by day and from the ledger."""
    names = ("jobs", "pages", "sheets", "colour_pages", "amount")
    sums = ", ".join(f"sum({name})" for name in names)
    db.execute("delete from costs_by_name")

    def put(by: str, made: str) -> None:
        db.execute(f"insert into costs_by_name select period, '{by}', name, {sums} from ({made}) group by 1, 3")

    def put_longer(by: str, digits: int) -> None:
        """Months and years, from what is there by periods of so many digits."""
        while digits > 4:
            own = f"by = '{by}' and period between {10 ** (digits - 1)} and {10**digits - 1}"
            put(by, f"select period / 100 as period, name, {', '.join(names)} from costs_by_name where {own}")
            digits -= 2

    put("user", "select period, user as name, * from costs_by_month")
    put_longer("user", 6)
    # Rows by day are as many as jobs, so they are read once.
    who = "period, department, account, printer"
    summed = ", ".join(f"sum({name}) as {name}" for name in names)
    db.execute(f"create temp table without_users as select {who}, {summed} from costs_by_day group by {who}")
    for by, name in (("department", "department"), ("account", "account"), ("printer", "printer"), ("all", "''")):
        put(by, f"select {name} as name, * from without_users")
        put_longer(by, 8)
    db.execute("drop table without_users")
    db.execute("delete from costs_by_time")
    counted = ", ".join(["sum(kind in ('job', 'import'))", *(f"sum({name})" for name in names[1:])])
    made = f"select at / 900 * 900, {counted} from ledger where kind != 'deposit' group by 1"
    db.execute(f"insert into costs_by_time {made}")


@migrations()  # type: ignore[untyped-decorator]
def m007_samples(db: Database) -> None:
    """The fleet over time, and what each node lately answered (controller/samples.py). Sums of `count` samples."""
    db.execute(
        "create table samples (resolution integer, at integer, count integer, queue_depth integer, ready integer, "
        "nodes integer, wait real, cost integer, primary key (resolution, at)) without rowid"
    )
    db.execute(
        "create table probes (node text, at real, latency real, open_jobs integer, error text, tls_error text, "
        "up integer, proxies integer, primary key (node, at)) without rowid"
    )
    db["probes"].create_index(["at"])


@migrations()  # type: ignore[untyped-decorator]
def m008_channels(db: Database) -> None:
    """How a command came: through the front door, or from a shell on this machine."""
    db["commands"].add_column("channel", str, not_null_default="door")


@migrations()  # type: ignore[untyped-decorator]
def m009_balances(db: Database) -> None:
    """What somebody owes is a sum over all months."""
    for column in ("user", "account"):
        db["costs_by_month"].create_index([column, "period"])


@migrations()  # type: ignore[untyped-decorator]
def m010_accounts(db: Database) -> None:
    """Most jobs are paid by no account: an index that has them too would be taken for them, and be of no use."""
    db.execute("drop index idx_costs_by_month_account_period")
    db.execute("create index costs_by_month_account on costs_by_month (account, period) where account != ''")


@migrations()  # type: ignore[untyped-decorator]
def m011_let_through(db: Database) -> None:
    """Jobs that may be printed by their account's limit and are not charged yet (controller/costs/gate.py)."""
    columns = {"uuid": str, "user": str, "account": str, "pages": int, "amount": int, "at": float}
    db["let_through"].create(columns, pk="uuid")


@migrations()  # type: ignore[untyped-decorator]
def m012_moves(db: Database) -> None:
    """Every pass and every list asks what was moved lately."""
    db["moves"].create_index(["changed_at"])


@migrations()  # type: ignore[untyped-decorator]
def m013_released(db: Database) -> None:
    """A job that was held did not wait for its printer (controller/jobs/table.py: WAITS_SINCE)."""
    db["jobs"].add_column("released", int, not_null_default=0)


@migrations()  # type: ignore[untyped-decorator]
def m014_imports(db: Database) -> None:
    """What somebody owes leaves out what an old server printed (controller/costs/ledger.py)."""
    db.execute("create index ledger_imports on ledger (user, account) where kind = 'import'")


@migrations()  # type: ignore[untyped-decorator]
def m015_documents(db: Database) -> None:
    """Documents of one job that are printed one by one are each let through (controller/costs/gate.py)."""
    db.execute("alter table let_through rename to let_through_before")
    columns = {"uuid": str, "user": str, "account": str, "pages": int, "amount": int, "at": float, "document": int}
    db["let_through"].create(columns, pk=("uuid", "document"))
    db.execute("insert into let_through select *, 0 from let_through_before")
    db.execute("drop table let_through_before")


@migrations()  # type: ignore[untyped-decorator]
def m016_rests(db: Database) -> None:
    """When the last node at an address left, by a clock that nobody sets: monotonic seconds of a boot."""
    db["rests"].create({"host": str, "port": int, "boot": str, "at": float}, pk=("host", "port"))


@migrations()  # type: ignore[untyped-decorator]
def m017_ended(db: Database) -> None:
    """What ended lately on nodes that have left is asked for by every list of ended jobs."""
    db.execute("create index jobs_ended_on on jobs (node, completed desc, id) where open = 0")


@migrations()  # type: ignore[untyped-decorator]
def m018_came(db: Database) -> None:
    """When jobs came is asked for every few seconds, and those that were held came when they were released."""
    db.execute("create index jobs_released on jobs (released) where released > 0")
