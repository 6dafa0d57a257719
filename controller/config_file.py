"""Reading fleet.toml. Any mistake becomes one sentence per field: where it stands, what was given, what is allowed."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from controller.config import ENV_PREFIX, Settings
from controller.config_values import EVERYWHERE

STARTER_VARIABLES = {"CUPSFLEET_VENV", "CUPSFLEET_PYTHON", "CUPSFLEET_STATE_DIR", "CUPSFLEET_CONFIG"}
"""Read by the start script and the command line, not settings."""


KINDS = {
    "int": "a whole number",
    "int_from_float": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "a text in quotes",
    "tuple": "a list in brackets",
    "dict": "a section with a line for each of its settings",
    "model": "a section with a line for each of its settings",
}
"""What a value of a wrong type should have been, by pydantic's name for that mistake without `_type` or `_parsing`."""


class ConfigError(Exception):
    """The configuration can't be used; each line of the message names one field, what was given, what is allowed."""


def load(path: Path | None, port: int | None = None) -> Settings:
    """Settings from a file (None: defaults) and the environment; `port` stands above both. Raises ConfigError."""
    _reject_unknown_variables()
    content = _read(path) if path else {}
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(path, detail) for detail in _own_mistakes(error))) from None
    except ValueError as error:  # a variable that should hold JSON and does not
        raise ConfigError(f"environment: {error}") from None
    if port is not None:
        door = settings.front_door.model_copy(update={"port": port})
        settings = settings.model_copy(update={"front_door": door})
    return _with_absolute_paths(settings, path)


def schema() -> dict[str, Any]:
    """JSON Schema of fleet.toml, with unit, default and reason of each field."""
    return Settings.model_json_schema()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; `docs/fleet.toml` is an example to start from") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror}); it must be readable by this user") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not text in UTF-8, which TOML files must be") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _reject_unknown_variables() -> None:
    sections = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields}
    for variable in sorted(os.environ):
        name = variable.upper()
        if name.startswith(ENV_PREFIX) and name not in STARTER_VARIABLES and name.split("__")[0] not in sections:
            known = ", ".join(sorted(f"{section}__…" for section in sections))
            raise ConfigError(f"environment: {variable} names no setting; allowed are {known}")


def _own_mistakes(error: ValidationError) -> list[Any]:
    """All mistakes but those that only say that something inside is mistaken."""
    details = error.errors()
    inner = {
        detail["loc"][: len(detail["loc"]) - depth] for detail in details for depth in range(1, len(detail["loc"]))
    }
    return [detail for detail in details if detail["loc"] not in inner]


def _sentence(path: Path | None, detail: Any) -> str:
    """One line for one mistake: where, what was given, what is allowed."""
    place = ".".join(str(part) for part in detail["loc"]) or "the file"
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return f"{path or 'environment'}: {message}"
    variable = ENV_PREFIX + "__".join(str(part) for part in detail["loc"]).upper()
    source = variable if any(name.upper() == variable for name in os.environ) else path or "settings"
    if detail["type"] == "extra_forbidden":
        return f"{source}: {place} is not a setting; allowed here are {', '.join(_siblings(detail['loc']))}"
    if detail["type"] == "missing":
        return f"{source}: {place} is missing; {_description(detail['loc'])}"
    return f"{source}: {place} was given {detail['input']!r}, allowed: {_allowed(detail, message)}"


def _allowed(detail: Any, message: str) -> str:
    kind = detail["type"].rpartition("_")[0] if detail["type"].endswith(("_type", "_parsing")) else detail["type"]
    allowed = KINDS.get(kind) or message.removeprefix("Input should be ").removeprefix("String should match pattern ")
    description = _description(detail["loc"])
    return f"{allowed} ({description})" if description else allowed


def _model_at(location: tuple[Any, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Settings
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(str(part)) if model else None
        candidates = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)
    return model


def _siblings(location: tuple[Any, ...]) -> list[str]:
    model = _model_at(location[:-1])
    return list(model.model_fields) if model else []


def _description(location: tuple[Any, ...]) -> str:
    model = _model_at(location[:-1])
    field = model.model_fields.get(str(location[-1])) if model else None
    return (field.description or "").replace("\n", " ").rstrip(".") if field else ""


def _with_absolute_paths(settings: Settings, path: Path | None) -> Settings:
    """Relative paths in the file mean: beside the file."""
    base = (path.parent if path else Path()).resolve()
    door, nodes = settings.front_door, settings.nodes
    if door.certificate:
        door = door.model_copy(update={"certificate": base / door.certificate})
    if nodes.ca_file:
        nodes = nodes.model_copy(update={"ca_file": base / nodes.ca_file})
    costs = settings.costs
    if costs.accounts:
        costs = costs.model_copy(update={"accounts": base / costs.accounts})
    printers = tuple(
        printer.model_copy(
            update={"model": _model(base, f"{path or 'environment'}: printers.{number}.model", printer.model)}
        )
        for number, printer in enumerate(settings.printers)
    )
    return settings.model_copy(update={"front_door": door, "nodes": nodes, "printers": printers, "costs": costs})


def _model(base: Path, place: str, model: str) -> str:
    """A PPD file's whole path, or what it was. A name such as `lsb/usr/x.ppd` may be a model that CUPS lists."""
    if model in ("raw", EVERYWHERE):
        return model
    try:
        found = (base / model).is_file()
    except OSError as error:  # a folder that this user may not enter, a name that is too long
        raise ConfigError(
            f"{place} was given {model!r}, and no file can be read there ({error.strerror}); allowed is the path of a "
            "PPD file that this user can read"
        ) from None
    if found:
        return str(base / model)
    if model.startswith(("/", "./", "../")):
        raise ConfigError(f"{place} was given {model!r}, and there is no such file; allowed is a PPD file's path")
    return model


@dataclass
class Configuration:
    """The settings in force. A file that changed for the worse changes nothing but the list of problems."""

    path: Path | None
    port: int | None
    settings: Settings = field(init=False)
    problem: str = ""
    _stamp: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self._stamp = self._look()
        self.settings = load(self.path, self.port)

    def refresh(self) -> str:
        """Read the file again when it changed; returns what to tell, or ''."""
        if not self.changed():
            return ""
        self._stamp = self._look()
        try:
            self.settings = load(self.path, self.port)
        except (ConfigError, OSError) as error:
            self.problem = f"the last good settings stay in force: {error}"
            return self.problem
        self.problem = ""
        return f"{self.path} was read again"

    def changed(self) -> bool:
        """Whether the file is another one than was read last."""
        return self._look() != self._stamp

    def _look(self) -> tuple[int, int] | None:
        return stamp_of(self.path) if self.path else None


def stamp_of(path: Path) -> tuple[int, int]:
    """Changes with the file; zeros while there is none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size
