"""Costs: who printed what and what it cost, what idle capacity costs, and the jobs behind each sum."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import streamlit as st

from controller.state import State
from dashboard import charts
from dashboard import viewer as access
from dashboard.components import (
    SLOW,
    downloads,
    first_page,
    heading,
    nothing,
    older_and_newer,
    page_number,
    section,
    stale_note,
)
from dashboard.tables import Link, price, table
from dashboard.times import moment, zone

BY = ("user", "department", "account", "printer", "month")
PERIODS = ("this month", "last month", "this year", "last year", "all")
SHOWN = 500
CHARTED = 12
ENTRIES_SHOWN = 100
EXPORTED = 1_000_000
NOBODY = "(none)"
"""Shown for an empty department or account."""
FIRST_DAY = date(2000, 1, 1)


def show(state: State) -> None:
    heading("Costs")
    with st.container(horizontal=True, vertical_alignment="top"):
        st.segmented_control("Sums by", BY, default="user", required=True, key="by", bind="query-params", wrap=True)
        st.selectbox("Period", PERIODS, key="period", bind="query-params", width=180)
    _totals(state)
    _sums(state)
    _jobs(state)
    _limits(state)


def period(name: str, today: date) -> tuple[date, date]:
    """First day of a period, and the day after its last."""
    month, year = today.replace(day=1), date(today.year, 1, 1)
    tomorrow = today + timedelta(days=1)
    return {
        "this month": (month, tomorrow),
        "last month": ((month - timedelta(days=1)).replace(day=1), month),
        "this year": (year, tomorrow),
        "last year": (date(today.year - 1, 1, 1), year),
        "all": (FIRST_DAY, tomorrow),
    }[name]


def _chosen() -> tuple[str, date, date]:
    by = st.session_state.get("by") or "user"
    since, until = period(st.session_state.get("period") or PERIODS[0], datetime.now(zone()).date())
    return by, since, until


@st.fragment(run_every=SLOW)
def _totals(state: State) -> None:
    _, since, until = _chosen()
    with access.administrator(state) as views:
        total, idle, currency = views.cost_total(since, until), views.idle_cost(since, until), views.currency()
        stale_note(views.status())
    with st.grid(min_column_width=150):
        st.metric("Charged", f"{total['amount']:,.2f} {currency}", border=True)
        st.metric("Jobs", f"{total['jobs']:,}", border=True)
        st.metric("Pages", f"{total['pages']:,}", border=True)
        st.metric(
            "Servers cost",
            f"{idle['cost']:,.2f} {currency}",
            border=True,
            help=f"{idle['node_hours']:,.1f} server-hours",
        )
        st.metric("Of that, while idle", f"{idle['idle']:,.2f} {currency}", border=True, help=_IDLE)
        st.metric("Saved by scaling", f"{idle['saved']:,.2f} {currency}", border=True, help=_SAVED)


_IDLE = "The part of the servers' cost in which no job printed on them."
_SAVED = "What the servers would have cost besides, had `nodes.max` of them run all the time."


@st.fragment(run_every=SLOW)
def _sums(state: State) -> None:
    by, since, until = _chosen()
    with access.administrator(state) as views:
        found, currency = views.costs(by, since, until, SHOWN + 1), views.currency()
    if not found:
        nothing("Nothing was charged in this period.", "receipt_long")
        return
    _chart(by, found, currency)
    titles = {"name": by, "amount": f"amount, {currency}", "colour_pages": "colour pages"}
    asked = {name: value for name, value in st.query_params.items() if name != "page"}
    rows = [_sum(row) for row in found[:SHOWN]]
    links = ({"name": Link(row["name"], {**asked, f"one-{by}": row["name"]})} for row in rows)
    table([row | link for row, link in zip(rows, links, strict=True)], f"Sums by {by}", **titles)
    if len(found) > SHOWN:
        st.caption(f"The {SHOWN} dearest; the download has all.")
    downloads(state, f"costs-by-{by}", lambda views: [_exact(row) for row in views.costs(by, since, until)])


def _sum(row: dict[str, Any]) -> dict[str, Any]:
    """With what is asked for most in front."""
    first = {"name": row["name"] or NOBODY, "amount": price(row["amount"])}
    return first | {name: row[name] for name in ("jobs", "pages", "sheets", "colour_pages")}


def _chart(by: str, found: list[dict[str, Any]], currency: str) -> None:
    """Money where there are prices, else pages."""
    measure, title = ("amount", f"amount, {currency}") if any(row["amount"] for row in found) else ("pages", "pages")
    shown = found[-CHARTED:] if by == "month" else found[:CHARTED]
    charts.bars({row["name"] or NOBODY: float(row[measure]) for row in shown}, title, f"{measure} by {by}")


@st.fragment
def _jobs(state: State) -> None:
    by, since, until = _chosen()
    section("The jobs behind a sum")
    with access.administrator(state) as views:
        names = [row["name"] or NOBODY for row in views.costs(by, since, until, SHOWN)]
        chosen = st.selectbox(
            by.capitalize(),
            names,
            index=None,
            key=f"one-{by}",
            bind="query-params",
            placeholder="Choose a month" if by == "month" else f"Choose or type a {by}",
            accept_new_options=by != "month",
            width=320,
        )
        if not chosen:
            return
        page = page_number()
        names_wanted, since, until = _narrowed(by, chosen, since, until)
        found = views.cost_rows(since, until, ENTRIES_SHOWN + 1, (page - 1) * ENTRIES_SHOWN, **names_wanted)
        currency = views.currency()
    if not found and page > 1:
        first_page()
    if not found:
        nothing("Nothing was charged here in this period.", "receipt_long")
        return
    titles = {"amount": f"amount, {currency}", "colour_pages": "colour pages"}
    table([_entry(row) for row in found[:ENTRIES_SHOWN]], f"Jobs of {chosen}", **titles)
    older_and_newer(page, more=len(found) > ENTRIES_SHOWN)
    where = zone()
    downloads(
        state,
        "jobs",
        lambda views: [
            {**_exact(row), "at": moment(row["at"], where).isoformat()}
            for row in views.cost_rows(since, until, EXPORTED, 0, **names_wanted)
        ],
    )


def _narrowed(by: str, name: str, since: date, until: date) -> tuple[dict[str, str], date, date]:
    """What the ledger is asked for: a name in a column, or the days of a month."""
    if by != "month":
        return {by: "" if name == NOBODY else name}, since, until
    first = date.fromisoformat(f"{name}-01")
    return {}, first, (first + timedelta(days=31)).replace(day=1)


def _exact(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "amount": str(row["amount"])}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    shown = ("user", "department", "account", "printer", "title", "pages", "sheets", "colour_pages", "origin", "kind")
    first = {"when": moment(row["at"]), "amount": price(row["amount"]), "job": str(row["job"] or "")}
    return {**first, **{name: row[name] for name in shown}, "remark": row["remark"]}


@st.fragment(run_every=SLOW)
def _limits(state: State) -> None:
    """Who may print how much, and what is left in shared accounts; nothing where there is neither."""
    with access.administrator(state) as views:
        quotas, shared, currency = views.quotas(), views.shared_accounts(), views.currency()
    if quotas:
        section("Quotas")
        table(quotas, "Quotas of each person", who="each of", amount=f"amount, {currency}")
    if shared:
        section("Shared accounts")
        rows = [{**row, "balance": price(row["balance"])} for row in shared]
        table(rows, "Shared accounts", balance=f"balance, {currency}")
