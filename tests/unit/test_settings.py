"""docs/settings.md says what sluiceway/config says, and what that says is whole."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from helpers import settings_page
from pydantic import SecretStr

from sluiceway.config import BadVariable, Settings, load_settings

ROWS = list(settings_page.rows())


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in list(os.environ):
        if variable.startswith("SLUICEWAY_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("SLUICEWAY_DATA", str(tmp_path))


def test_the_page_is_what_config_says() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run scripts/docs"


def test_every_setting_is_described() -> None:
    wanting = [row.name for row in ROWS if not (row.field.description or "").endswith(".") or not row.unit]
    assert not wanting, "these have no description in sluiceway/config, or not a whole sentence"


def test_a_section_is_described() -> None:
    assert all((section.__doc__ or "").strip() for _, section in settings_page.sections())


@pytest.mark.parametrize("section", ["", *(name for name, _ in settings_page.sections())])
def test_the_environment_sets_it(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in ROWS if row.name.rpartition(".")[0] == section]
    assert rows
    for row in rows:
        monkeypatch.setenv(row.variable, _other(row))
    found = load_settings({})
    for row in rows:
        assert _text(_value(found, row.name)) == _other(row) != _text(row.default), row.name


def test_an_option_goes_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sluiceway.toml").write_text('region = "eu-west-1"\n[http]\nport = 1111\nkeep_alive_s = 5\n')
    monkeypatch.setenv("SLUICEWAY_HTTP__PORT", "2222")
    monkeypatch.setenv("SLUICEWAY_HTTP__HOST", "127.0.0.2")
    found = load_settings({"data": tmp_path, "http": {"host": "127.0.0.3"}})
    assert (found.region, found.http.keep_alive_s, found.http.port, found.http.host) == (
        "eu-west-1",
        5,
        2222,
        "127.0.0.3",
    )


def test_a_section_may_be_given_whole_and_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEWAY_HTTP", '{"port": 1, "host": "127.0.0.9"}')
    monkeypatch.setenv("SLUICEWAY_HTTP__PORT", "2")
    monkeypatch.setenv("SLUICEWAY_NO_SUCH_SETTING", "of somebody else")
    found = load_settings({})
    assert (found.http.host, found.http.port) == ("127.0.0.9", 2)


@pytest.mark.parametrize(
    ("variable", "text"),
    [("HTTP", "{"), ("HTTP", "[]"), ("APIS__REDIRECT_ORIGINS", "x"), ("APIS__REDIRECT_ORIGINS", "1")],
)
def test_what_should_be_json_and_is_not_is_named(variable: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SLUICEWAY_{variable}", text)
    with pytest.raises(BadVariable, match=f"SLUICEWAY_{variable}"):
        load_settings({})


def _other(row: settings_page.Row) -> str:
    """A value that the setting may have, and has not."""
    if isinstance(row.default, bool):
        return _text(not row.default)
    if isinstance(row.default, int | float):
        return _text(row.default + 1)
    choices = re.findall(r"`(\w+)`", row.unit)
    if choices:
        return str(next(choice for choice in choices if choice != row.default))
    if row.unit == "list":
        return '["https://example.com"]'
    return {"account": "111111111111", "region": "eu-central-1"}.get(row.name, "other")


def _text(value: object) -> str:
    """As the environment has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, bool | list) else str(value)


def _value(settings: Settings, name: str) -> object:
    section, _, field = name.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, field)


@pytest.mark.parametrize(
    ("variables", "allowed"),
    [
        ({}, False),
        ({"ALLOW_PRIVATE_TARGETS": "1"}, True),
        ({"ALLOW_PRIVATE_TARGETS": "0"}, False),
        ({"ALLOW_PRIVATE_TARGETS": "1", "DELIVERY": '{"smtp_port": 25}'}, True),
        ({"ALLOW_PRIVATE_TARGETS": "1", "DELIVERY__ALLOW_PRIVATE_TARGETS": "false"}, False),
        ({"ALLOW_PRIVATE_TARGETS": "1", "DELIVERY": '{"allow_private_targets": false}'}, False),
    ],
)
def test_private_targets_have_a_short_name_that_the_setting_itself_goes_before(
    variables: dict[str, str], allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"SLUICEWAY_{name}", value)
    assert load_settings({}).delivery.allow_private_targets is allowed
