"""What all commands share: options, and how answers look. Data goes to stdout, talk to stderr."""

from __future__ import annotations

import getpass
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.lifetime import readable
from controller.views.export import csv_text

StateOption = Annotated[
    Path, typer.Option("--state", envvar="CUPSFLEET_STATE_DIR", help="Folder that holds everything the fleet owns.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="CUPSFLEET_CONFIG", help="The configuration, fleet.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
VAR = Path("var")
Choice = TypeVar("Choice", bound=StrEnum)

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
talk = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def caller() -> str:
    """Who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return f"user {os.getuid()}"


def one_of(kind: type[Choice]) -> dict[str, Any]:
    """For an option or argument that is one of a few words: how it is read and shown. What else is given is named
    together with what is allowed, in our words instead of a library's."""

    def read(text: str) -> Choice:
        try:
            return kind(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} was given; allowed is {', '.join(kind)}") from None

    return {"parser": read, "metavar": "|".join(kind)}


def say(sentence: str) -> None:
    for line in sentence.splitlines():
        talk.print(f"cupsfleet: {line}")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


WIDE = 10_000
"""Columns for a table that is not shown on a terminal: one line a row, for grep and the like."""


def print_table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        texts = (printable(readable(name, row.get(name))) for name in columns)
        table.add_row(*(Text(text if out.is_terminal else " ".join(text.split())) for text in texts))
    if out.is_terminal:
        out.print(table)
        return
    wide = Console(width=WIDE, color_system=None)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def printable(text: str) -> str:
    """Without what would make a terminal do more than show it."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def print_csv(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    sys.stdout.write(csv_text(rows, columns))
