"""Secrets, parameters and keys as services: time passing, bounds, and rows that were tampered with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.config import SecretSettings, StoreSettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Store, Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import open_store
from sluiceway.errors import Conflict, Invalid, NotFound, NotImplementedYet, TooLarge
from sluiceway.services.sealing import Sealer, Unsealable
from sluiceway.services.secrets import Keys, Parameters, Secrets
from sluiceway.services.secrets.passwords import random_password

SCOPE = Scope("000000000000", "us-east-1")
SEALER = Sealer(bytes(range(32)))
DAY_MS = 86_400_000


class SetClock:
    now = 1_790_000_000_000

    def now_ms(self) -> int:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def store(tmp_path: Path, clock: SetClock) -> AsyncIterator[Store]:
    opened = await open_store(tmp_path / "db", StoreSettings(), clock, Wakeups())
    yield opened
    await opened.close()


LIMITS = SecretSettings(versions_max=3, secrets_max=3, parameters_max=3, keys_max=2)
SECRETS, PARAMETERS, KEYS = (kind(SCOPE, LIMITS, SEALER) for kind in (Secrets, Parameters, Keys))


async def test_a_deleted_secret_is_gone_after_its_window(store: Store, clock: SetClock) -> None:
    first, _ = await store.commit(SECRETS.create, "a", "1")
    await store.commit(SECRETS.delete, "a", 7)
    clock.now += 7 * DAY_MS - 1
    assert [secret.name for secret in await store.view(lambda view: list(SECRETS.list(view)))] == ["a"]
    with pytest.raises(Conflict):
        await store.commit(SECRETS.create, "a", "2")
    clock.now += 1
    assert await store.view(lambda view: list(SECRETS.list(view))) == []
    with pytest.raises(NotFound):
        await store.commit(SECRETS.restore, "a")
    again, _ = await store.commit(SECRETS.create, "a")
    assert again.arn != first.arn
    with pytest.raises(NotFound):  # nothing of the old one is left
        await store.view(SECRETS.value, "a")


async def test_versions_are_bounded_and_labelled_ones_stay(store: Store, clock: SetClock) -> None:
    await store.commit(SECRETS.create, "a", "0")
    await store.commit(SECRETS.put, "a", "kept", stages=["mine"])
    for number in range(6):
        clock.now += 1
        await store.commit(SECRETS.put, "a", str(number))

    def values(view: View) -> list[tuple[str | bytes, list[str]]]:
        versions = SECRETS.versions(view, SECRETS.get(view, "a"))
        return [(SECRETS.value(view, "a", version.id).value, version.stages) for version in versions]

    assert await store.view(values) == [("kept", ["mine"]), ("4", ["AWSPREVIOUS"]), ("5", ["AWSCURRENT"])]


async def test_a_sealed_value_opens_in_its_own_row_only(store: Store) -> None:
    await store.commit(SECRETS.create, "a", "one")
    await store.commit(SECRETS.create, "b", "two")

    def swap(tx: Tx) -> None:
        rows = {str(key[0]): (key, row) for key, row in tx.scan("secret_versions")}
        (key, row), (_, other) = rows["a"], rows["b"]
        tx.put("secret_versions", key, {**row, "sealed": other["sealed"]})

    await store.commit(swap)
    with pytest.raises(Unsealable):
        await store.view(SECRETS.value, "a")


async def test_limits(store: Store) -> None:
    for number in range(3):
        await store.commit(SECRETS.create, f"s{number}", "v")
        await store.commit(PARAMETERS.put, f"p{number}", "v", "String")
    with pytest.raises(Conflict):
        await store.commit(SECRETS.create, "more", "v")
    with pytest.raises(Conflict):
        await store.commit(PARAMETERS.put, "more", "v", "String")
    with pytest.raises(TooLarge):
        await store.commit(SECRETS.put, "s0", "v" * 65_537)
    for bad in ("", "a b", "x" * 513):
        with pytest.raises(Invalid):
            await store.commit(SECRETS.create, bad, "v")
    with pytest.raises(Invalid):
        await store.commit(SECRETS.delete, "s0", 6)
    await store.commit(KEYS.create)
    await store.commit(KEYS.create)
    with pytest.raises(Conflict):
        await store.commit(KEYS.create)


async def test_a_parameters_history_is_bounded(store: Store) -> None:
    for number in range(1, 6):
        await store.commit(PARAMETERS.put, "/a", f"v{number}", "String", True)
    history = await store.view(PARAMETERS.history, "/a")
    assert [row.value for row in history] == ["v3", "v4", "v5"]
    with pytest.raises(NotFound):
        await store.view(PARAMETERS.get, "/a:2")
    with pytest.raises(NotFound):
        await store.view(PARAMETERS.get, "/a:x")
    with pytest.raises(NotImplementedYet):
        await store.commit(PARAMETERS.put, "/b", "v", "String", allowed_pattern="(a+)+")


async def test_a_parameter_may_change_its_type(store: Store) -> None:
    await store.commit(PARAMETERS.put, "a", "plain", "String")
    sealed = await store.commit(PARAMETERS.put, "a", "hidden", "SecureString", True)
    assert "hidden" not in sealed.value
    assert PARAMETERS.plain(await store.view(PARAMETERS.get, "a")) == "hidden"
    assert PARAMETERS.plain(await store.view(PARAMETERS.get, "a:1")) == "plain"


async def test_paths(store: Store) -> None:
    for name in ("/a/b", "/a/c/d", "/ab"):
        await store.commit(PARAMETERS.put, name, "v", "String")

    async def names(path: str, recursive: bool = True) -> list[str]:
        found = await store.view(lambda view: list(PARAMETERS.under(view, path, recursive=recursive)))
        return [parameter.name for parameter in found]

    assert await names("/a") == ["/a/b", "/a/c/d"]
    assert await names("/a", recursive=False) == ["/a/b"]
    assert await names("/") == ["/a/b", "/a/c/d", "/ab"]
    with pytest.raises(Invalid):
        await names("a")


async def test_a_key_is_gone_after_its_window(store: Store, clock: SetClock) -> None:
    key = await store.commit(KEYS.create)
    _, blob = await store.view(KEYS.encrypt, key.id, b"x", {})
    await store.commit(KEYS.schedule_deletion, key.id, 7)
    with pytest.raises(Conflict):
        await store.view(KEYS.decrypt, blob, {})
    clock.now += 7 * DAY_MS
    with pytest.raises(Invalid):
        await store.view(KEYS.decrypt, blob, {})
    with pytest.raises(NotFound):
        await store.view(KEYS.get, key.arn)


async def test_every_byte_of_a_ciphertext_counts(store: Store) -> None:
    key = await store.commit(KEYS.create)
    _, blob = await store.view(KEYS.encrypt, key.id, b"hello", {"a": "1"})
    for at in range(len(blob)):
        changed = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
        with pytest.raises(Invalid):
            await store.view(KEYS.decrypt, changed, {"a": "1"})


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 60), st.text("abc123!ABC", max_size=5), st.booleans(), st.booleans())
def test_passwords_keep_their_rules(length: int, exclude: str, punctuation: bool, numbers: bool) -> None:
    password = random_password(length, exclude=exclude, punctuation=punctuation, numbers=numbers)
    assert len(password) == length
    assert not set(password) & set(exclude)
    assert any(char.islower() for char in password) and any(char.isupper() for char in password)
    assert any(char.isdigit() for char in password) == numbers
    assert any(not char.isalnum() for char in password) == punctuation


def test_impossible_passwords() -> None:
    with pytest.raises(Invalid):
        random_password(3)
    with pytest.raises(Invalid):
        random_password(8, lowercase=False, uppercase=False, numbers=False, punctuation=False)
