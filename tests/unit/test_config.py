"""fleet.toml: what is read, which source wins, and what a mistake is answered with."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from controller.config import Settings
from controller.config_file import ConfigError, Configuration, load, schema

EXAMPLE = Path(__file__).parents[2] / "docs" / "fleet.toml"


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "fleet.toml"
        path.write_text(text)
        return path

    return write


def mistakes(path: Path | None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).splitlines()


def test_environment_over_file_over_default(write, monkeypatch) -> None:
    path = write("[nodes]\nmin = 4\nmax = 9")
    monkeypatch.setenv("CUPSFLEET_NODES__MIN", "5")
    settings = load(path)
    assert (settings.nodes.min, settings.nodes.max, settings.nodes.start_timeout) == (5, 9, 30.0)


def test_who_gives_a_depth_and_no_policy_counts_jobs(write, monkeypatch) -> None:
    assert load(write("")).scaling.policy == "wait-target"
    assert load(write("[scaling]\nqueue_depth_per_node = 6")).scaling.policy == "threshold"
    named = write("[scaling]\nqueue_depth_per_node = 6\npolicy = 'wait-target'")
    assert load(named).scaling.policy == "wait-target"
    monkeypatch.setenv("CUPSFLEET_SCALING__QUEUE_DEPTH_PER_NODE_DOWN", "0.5")
    assert load(None).scaling.policy == "threshold"


def test_a_schedule_for_dates_alone_begins_on_no_other_day(write) -> None:
    times = "start = '08:00'\nend = '18:00'\nmin = 4"
    (every,) = load(write(f"[[scaling.schedule]]\n{times}")).scaling.schedule
    (alone,) = load(write(f"[[scaling.schedule]]\ndates = [2027-02-13]\n{times}")).scaling.schedule
    (both,) = load(write(f"[[scaling.schedule]]\ndates = [2027-02-13]\ndays = ['mon']\n{times}")).scaling.schedule
    assert (len(every.days), alone.days, both.days) == (7, (), ("mon",))
    assert alone.dates == both.dates == (date(2027, 2, 13),)
    (never,) = mistakes(write(f"[[scaling.schedule]]\ndays = []\n{times}"))
    assert "days and dates are empty, allowed is one day or date or more" in never


def test_the_port_on_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPSFLEET_FRONT_DOOR__PORT", "7000")
    assert load(None, port=7001).front_door.port == 7001


@pytest.mark.parametrize(
    ("written", "seconds"), [('"30s"', 30.0), ('"5m"', 300.0), ('"500ms"', 0.5), ('"1h"', 3600.0), ("7", 7.0)]
)
def test_durations(write, written, seconds) -> None:
    settings = load(write(f"[nodes]\nstart_timeout = {written}"))
    assert settings.nodes.start_timeout == seconds


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[nodes]\nmin = 0", ["nodes.min", "given 0", "greater than or equal to 1"]),
        ('[nodes]\ndriver = "vmware"', ["nodes.driver", "given 'vmware'", "'process'"]),
        ('[nodes]\nmin = "two"', ["nodes.min was given 'two', allowed: a whole number (Nodes that serve"]),
        ("[nodes]\nmin = 2.5", ["nodes.min was given 2.5, allowed: a whole number (Nodes"]),
        ("[nodes]\nexisting = 7", ["nodes.existing was given 7, allowed: a list in brackets (CUPS servers"]),
        ("[front_door]\nname = 5", ["front_door.name was given 5, allowed: a text in quotes (Host name"]),
        ('[costs]\nprepaid = "maybe"', ["costs.prepaid was given 'maybe', allowed: true or false (Whether"]),
        (
            '[scaling]\ntime_zone = "Mars/Utopia"',
            ["scaling.time_zone was given 'Mars/Utopia'", "such as Europe/Berlin"],
        ),
        ("nodes = 3", ["nodes was given 3, allowed: a section with a line for each of its settings"]),
        ('[nodes]\nprice_per_hour = "x"', ["nodes.price_per_hour was given 'x', allowed: a number (What"]),
        ("[nodes]\nmaximum = 3", ["nodes.maximum is not a setting", "start_timeout"]),
        ("[nodse]\nmin = 3", ["nodse is not a setting", "nodes"]),
        ('[health]\ninterval = "3 parsecs"', ["health.interval", "'3 parsecs'", '"30s"']),
        ('[[printers]]\nname = "a b"\ndevice = "socket://x:1"', ["printers.0.name", "'a b'"]),
        ('[[printers]]\nname = "a"', ["printers.0.device is missing", "Device URI"]),
        ("printers = []", ["printers", "at least 1"]),
        ("[nodes]\nmin = 9", ["nodes.max is 8", "nodes.min (9)"]),
        ("[front_door]\nmore_ports = [8631]", ["ports (8631, 8631) repeat"]),
        ('[nodes]\nexisting = ["print2"]', ["nodes.existing.0", "HOST:PORT"]),
        (
            "[scaling]\nmax_node_hours_per_day = 10",
            ["day is 10", "nodes.min (2) needs in a day (48)"],
        ),
        ("[nodes\nmin = 2", ["is not TOML", "line 1"]),
    ],
)
def test_a_mistake_names_field_value_and_what_is_allowed(write, text, parts) -> None:
    path = write(text)
    (sentence,) = mistakes(path)
    assert sentence.startswith(f"{path}: ")
    assert [part for part in parts if part not in sentence] == []


def test_all_mistakes_are_named_at_once(write) -> None:
    assert len(mistakes(write('[nodes]\nmin = 0\nmax = "many"\n[health]\ninterval = 0'))) == 3


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPSFLEET_NODES__MIN", "few")
    (sentence,) = mistakes(None)
    assert sentence.startswith("CUPSFLEET_NODES__MIN: nodes.min was given 'few'")


def test_a_variable_that_names_no_section_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPSFLEET_NODE__MIN", "3")
    assert "CUPSFLEET_NODE__MIN names no setting" in mistakes(None)[0]


def test_missing_and_unreadable_files_are_told_apart(tmp_path: Path) -> None:
    assert "there is no such file" in mistakes(tmp_path / "none.toml")[0]
    assert "can't be read" in mistakes(tmp_path)[0]
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    assert "UTF-8" in mistakes(tmp_path / "latin.toml")[0]


def test_relative_paths_lie_beside_the_file(write) -> None:
    path = write('[front_door]\ncertificate = "door.pem"\n[[printers]]\nname="a"\ndevice="socket://x:1"\nmodel="a.ppd"')
    (path.parent / "a.ppd").touch()
    settings = load(path)
    assert settings.front_door.certificate == path.parent / "door.pem"
    assert settings.printers[0].model == str(path.parent / "a.ppd")


@pytest.mark.parametrize("model", ["/nowhere/x.ppd", "./x.ppd", "../x.ppd"])
def test_a_ppd_file_that_is_not_there_is_named(write, model: str) -> None:
    path = write(f'[[printers]]\nname="a"\ndevice="socket://x:1"\nmodel="{model}"')
    with pytest.raises(ConfigError, match=rf"printers.0.model was given '{model}', and there is no such file"):
        load(path)


def test_a_ppd_file_that_can_not_be_looked_for_is_named_and_changes_nothing(write) -> None:
    head = '[[printers]]\nname="a"\ndevice="socket://x:1"\nmodel='
    path = write(head + '"raw"')
    configuration = Configuration(path, None)
    path.write_text(head + f'"{"x" * 300}.ppd"\n[nodes]\nmin = 3')
    said = configuration.refresh()
    assert said.startswith("the last good settings stay in force: ")
    assert "printers.0.model was given" in said
    assert "File name too long" in said
    assert configuration.problem == said
    assert configuration.settings.nodes.min == Settings().nodes.min


def test_the_example_holds_every_setting_at_its_default() -> None:
    assert load(EXAMPLE) == Settings()
    text = EXAMPLE.read_text()
    assert [name for name in field_names(Settings) if name not in text] == []


def test_the_schema_explains_every_field() -> None:
    definitions = schema()["$defs"]
    unexplained = [
        f"{section}.{name}"
        for section, definition in definitions.items()
        for name, field in definition.get("properties", {}).items()
        if "description" not in field and "$ref" not in str(field)
    ]
    assert definitions
    assert unexplained == []


def field_names(model: type[BaseModel]) -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        candidates: list[Any] = [field.annotation, *getattr(field.annotation, "__args__", ())]
        found.append(name)
        for item in candidates:
            if isinstance(item, type) and issubclass(item, BaseModel):
                found += field_names(item)
    return found
