"""Limits on how many there may be of a thing are kept without walking all of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from sluiceway.config import (
    ApiSettings,
    ObjectSettings,
    QueueSettings,
    ReactionSettings,
    SecretSettings,
    SecuritySettings,
    StoreSettings,
    TableSettings,
    TopicSettings,
)
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import DomainError
from sluiceway.services import counts
from sluiceway.services.accounts import Accounts
from sluiceway.services.objects import Objects
from sluiceway.services.people import People
from sluiceway.services.queues import Queues
from sluiceway.services.reactions import Reactions
from sluiceway.services.sealing import Sealer
from sluiceway.services.secrets import Parameters, Secrets
from sluiceway.services.tables import Tables
from sluiceway.services.tables.values import KeySchema, Table
from sluiceway.services.topics import Topics

SCOPE = Scope("000000000000", "us-east-1")
SEALER = Sealer(bytes(32))
MOST = 3
POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'


@dataclass(frozen=True)
class Kind:
    """A thing of which there may be ``MOST``: the table of its rows, and how it is made and removed by name."""

    rows: str
    create: Callable[[Tx, str], Any]
    remove: Callable[[Tx, str], Any]


def kinds() -> dict[str, Kind]:
    topics = Topics(SCOPE, TopicSettings(topics_max=MOST), Reactions(ReactionSettings()))
    queues = Queues(SCOPE, QueueSettings(queues_max=MOST))
    tables = Tables(SCOPE, TableSettings(tables_max=MOST))
    nobody: Any = None  # no notification and no key comes into it
    buckets = Objects(SCOPE, ObjectSettings(buckets_max=MOST), nobody, nobody).buckets
    secrets = Secrets(SCOPE, SecretSettings(secrets_max=MOST), SEALER)
    parameters = Parameters(SCOPE, SecretSettings(parameters_max=MOST), SEALER)
    people = People(ApiSettings(people_max=MOST))
    accounts = Accounts(SCOPE, SecuritySettings(users_max=MOST, policies_max=MOST), SEALER)

    def table(tx: Tx, name: str) -> None:
        tables.create(tx, Table(name, "", KeySchema("id", "S"), {"id": "S"}, (), 0))

    def unregister(tx: Tx, name: str) -> None:
        person = people.by_email(tx, f"{name}@example.com")
        assert person is not None
        people.remove(tx, person.id)

    return {
        "topic": Kind("topics", topics.create, topics.delete),
        "queue": Kind("queues", lambda tx, name: queues.create(tx, name, {}, {}), queues.remove),
        "table": Kind("tables", table, tables.remove),
        "bucket": Kind("buckets", lambda tx, name: buckets.create(tx, name, "me"), buckets.delete),
        "secret": Kind("secrets", secrets.create, lambda tx, name: secrets.delete(tx, name, force=True)),
        "parameter": Kind("parameters", lambda tx, name: parameters.put(tx, name, "v", "String"), parameters.delete),
        "person": Kind("people", lambda tx, name: people.create(tx, f"{name}@example.com", name, "-"), unregister),
        "user": Kind("users", accounts.users.create, accounts.users.delete),
        "policy": Kind(
            "managed_policies",
            lambda tx, name: accounts.policies.create(tx, name, POLICY),
            lambda tx, name: accounts.policies.delete(tx, f"arn:aws:iam::000000000000:policy/{name}"),
        ),
    }


KINDS = kinds()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await open_store(tmp_path / "db", StoreSettings(), SystemClock(), Wakeups())
    yield opened
    await opened.close()


class Unwalked:
    """A transaction in which nobody walks through a table."""

    def __init__(self, tx: Tx, table: str) -> None:
        self._tx = tx
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def scan(self, table: str, **options: Any) -> Any:
        assert table != self._table, "all of them are walked through"
        return self._tx.scan(table, **options)


@pytest.mark.parametrize("name", KINDS)
async def test_there_are_as_many_as_the_limit_says_and_nobody_counts_them_again(store: SqliteStore, name: str) -> None:
    kind = KINDS[name]

    async def do(fn: Callable[[Tx, str], Any], which: str) -> None:
        await store.commit(lambda tx: fn(cast(Tx, Unwalked(tx, kind.rows)), which))

    await store.commit(kind.create, "name-0")
    for number in range(1, MOST):
        await do(kind.create, f"name-{number}")
    for _ in range(2):
        with pytest.raises(DomainError) as refused:
            await do(kind.create, "one-more")
        assert refused.value.kind in ("topics", "queues", "tables", "buckets", "limit", "people")
        await store.commit(kind.remove, "name-1")
        await do(kind.create, "name-1")


@pytest.mark.parametrize("name", KINDS)
async def test_what_an_earlier_release_made_counts(store: SqliteStore, name: str) -> None:
    kind = KINDS[name]
    for number in range(MOST):
        await store.commit(kind.create, f"name-{number}")
    await store.commit(lambda tx: tx.delete("row_counts", (kind.rows,)))  # it kept none
    with pytest.raises(DomainError):
        await store.commit(kind.create, "one-more")
    await store.commit(kind.remove, "name-2")
    await store.commit(kind.create, "name-2")
    with pytest.raises(DomainError):
        await store.commit(kind.create, "one-more")


async def test_what_is_there_already_and_what_fails_is_not_counted(store: SqliteStore) -> None:
    create = KINDS["topic"].create
    for _ in range(MOST + 1):
        await store.commit(create, "again")

    def spoilt(tx: Tx) -> None:
        create(tx, "spoilt")
        raise ValueError

    for _ in range(MOST):
        with pytest.raises(ValueError):
            await store.commit(spoilt)
    for number in range(MOST - 1):
        await store.commit(create, f"name-{number}")
    with pytest.raises(DomainError):
        await store.commit(create, "one-more")
    for _ in range(2):  # the second time nothing happens
        await store.commit(KINDS["topic"].remove, "again")
    await store.commit(create, "later")
    with pytest.raises(DomainError):
        await store.commit(create, "one-more")


async def test_counts_agree_with_the_rows_whatever_happens(store: SqliteStore) -> None:
    chance = random.Random(11)

    def step(tx: Tx) -> None:
        for _ in range(chance.randrange(1, 4)):
            key = (chance.randrange(12),)
            if chance.random() < 0.5:
                counts.delete(tx, "things", key)
            elif tx.get("things", key) is None:
                held = sum(1 for _ in tx.scan("things"))
                assert counts.one_more(tx, "things", 8) == (held < 8)
                if held < 8:
                    tx.put("things", key, 1)
        if chance.random() < 0.2:
            raise ValueError("everything of it is undone")

    full = 0
    for _ in range(400):
        try:
            await store.commit(step)
        except ValueError:
            continue
        rows = await store.view(lambda view: sum(1 for _ in view.scan("things")))
        count = await store.view(lambda view: view.get("row_counts", ("things",)))
        assert count == rows or (count is None and rows == 0)
        full += rows == 8
    assert full > 5
