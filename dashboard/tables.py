"""Tables as one piece of HTML each: read by screen readers, found by the browser's search, and on a phone each row
comes on several lines, so that nothing of it lies beyond the edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any
from urllib.parse import urlencode

import streamlit as st

Row = Mapping[str, Any]
SHORT = 20
"""Characters that are not broken over lines."""


@dataclass(frozen=True)
class Link:
    """A cell that leads to what is behind it. where: of a page's query, to be asked for with it."""

    text: str
    where: Mapping[str, str]


def price(amount: Decimal) -> Decimal:
    """As people read money: two places, more only where they say something."""
    cents = amount.quantize(Decimal("0.01"))
    return cents if amount == cents else amount.normalize()


def table(rows: Sequence[Row], name: str, /, **titles: str) -> None:
    """Rows with the same keys; a column that is empty in all of them is left out.

    name: what a screen reader calls it. titles: of columns whose key is none for people.
    """
    if rows:
        told = [key for key in rows[0] if any(row[key] not in ("", None) for row in rows)]
        st.html(_table(rows, name, {key: titles.get(key, key) for key in told}))


def _table(rows: Sequence[Row], name: str, titles: Mapping[str, str]) -> str:
    numeric = {key for key in titles if all(_is_number(row[key]) for row in rows)}
    head = "".join(f"<th{_class(key in numeric)}>{escape(title)}</th>" for key, title in titles.items())
    body = "".join(
        f"<tr>{''.join(_cell(row[key], title, key in numeric) for key, title in titles.items())}</tr>" for row in rows
    )
    return (
        f'<table class="rows" aria-label="{escape(name)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def _cell(value: Any, title: str, numeric: bool) -> str:
    written = escape(text := _written(value))
    if isinstance(value, Link):
        written = f'<a href="?{escape(urlencode(value.where))}">{written}</a>'
    kind = _class(numeric) or (' class="short"' if len(text) <= SHORT else "")
    return f'<td{kind} data-title="{escape(title)}">{written}</td>'


def _class(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Link):
        return value.text
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if _is_number(value) else str(value)
