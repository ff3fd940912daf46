"""Reads the environment and ``sluiceway.toml``: nothing else does."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_origin

from pydantic import BaseModel

from sluiceway.config.settings import Settings

_PREFIX: Final = "SLUICEWAY_"


def load_settings(given: dict[str, Any]) -> Settings:
    """``given`` (from the command line), then the environment, then ``sluiceway.toml`` in the data folder.

    Read here in a few lines: a library for it doubles the time until a command does anything. Raises
    ``pydantic.ValidationError``, ``BadVariable``, ``tomllib.TOMLDecodeError``.
    """
    data = Path(given.get("data") or os.environ.get(f"{_PREFIX}DATA") or Settings.model_fields["data"].default)
    file = data / "sluiceway.toml"
    wanted: dict[str, Any] = tomllib.loads(file.read_text()) if file.is_file() else {}
    _merge(wanted, _from_environment(os.environ))
    _merge(wanted, given)
    sections: dict[str, Any] = {
        name: {} for name, field in Settings.model_fields.items() if field.default_factory is not None
    }
    return Settings(**{**sections, **wanted})


class BadVariable(ValueError):
    """A variable of the environment that should be JSON and is not."""


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The variables that are settings; others with our prefix mean something to somebody else (tests, functions).

    A section may be given whole, as JSON; what is given by itself goes before.
    """
    found: dict[str, Any] = {}
    if private := environment.get(f"{_PREFIX}ALLOW_PRIVATE_TARGETS"):  # a short name; the setting's own goes before
        found["delivery"] = {"allow_private_targets": private}
    for variable in sorted(name for name in environment if name.upper().startswith(_PREFIX)):
        text = environment[variable]
        section, _, name = variable.upper().removeprefix(_PREFIX).lower().partition("__")
        field = Settings.model_fields.get(section)
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            if field is not None:
                found[section] = text
        elif not name:
            found[section] = {**found.get(section, {}), **_json(variable, text, dict)}
        elif name in kind.model_fields:
            is_list = get_origin(kind.model_fields[name].annotation) is list
            found.setdefault(section, {})[name] = _json(variable, text, list) if is_list else text
    return found


def _json(variable: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        words = "a list" if kind is list else "an object"
        setting = variable.removeprefix(_PREFIX).lower().replace("__", ".")
        raise BadVariable(f"{variable} (setting {setting}) is not {words} in JSON")
    return value


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluiceway"


def runtime_folder() -> Path:
    """Where this user's running programs find each other, with the same source."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "sluiceway" if runtime else cache_folder()


def program_path() -> str:
    """The folders in which commands are looked for, as one colon-separated text."""
    return os.environ.get("PATH", os.defpath)
