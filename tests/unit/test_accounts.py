"""Users, keys, roles, sessions and the key ring, on the embedded store; and the files of keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from helpers.waiting import until

from sluiceway.config import SecuritySettings, StoreSettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.keyfile import KeyFileError, master_key, read_root_key, root_key
from sluiceway.engines.sqlite import open_store
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, Unauthenticated, Unavailable
from sluiceway.services.accounts import Accounts, KeyRing
from sluiceway.services.sealing import Sealer, Unsealable

SCOPE = Scope("000000000000", "us-east-1")
MASTER = bytes(range(32))
ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


class SetClock:
    now = 1_790_000_000_000

    def now_ms(self) -> int:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def accounts() -> Accounts:
    return Accounts(SCOPE, SecuritySettings(), Sealer(MASTER))


@pytest.fixture
async def store(tmp_path: Path, clock: SetClock) -> AsyncIterator[Store]:
    opened = await open_store(tmp_path / "db", StoreSettings(), clock, Wakeups())
    yield opened
    await opened.close()


@pytest.fixture
def ring(accounts: Accounts, clock: SetClock) -> KeyRing:
    return KeyRing(accounts, clock, "AKIAROOT", "root-secret")


def refused(ring: KeyRing, key_id: str, token: str | None = None) -> str:
    with pytest.raises(Unauthenticated) as caught:
        ring.find(key_id, token)
    return caught.value.kind


async def test_a_users_key_is_found_until_it_is_disabled(store: Store, accounts: Accounts, ring: KeyRing) -> None:
    await store.commit(accounts.users.create, "ann")
    await store.commit(accounts.users.put_policy, "ann", "p", ALLOW)
    key, secret = await store.commit(accounts.users.create_key, "ann")
    assert refused(ring, key.id) == "unknown_key"
    await ring.refresh(store)
    found, principal = ring.find(key.id)
    assert found == secret
    assert (principal.kind, principal.name, principal.access_key_id) == ("user", "ann", key.id)
    assert principal.arn == "arn:aws:iam::000000000000:user/ann"
    assert len(principal.canonical_id) == 64
    assert principal.policies == (json.loads(ALLOW),)
    await store.commit(accounts.users.set_key_active, key.id, False)
    await ring.refresh(store)
    assert refused(ring, key.id) == "unknown_key"


async def test_root_and_strangers(ring: KeyRing) -> None:
    assert ring.find("AKIAROOT")[1].kind == "root"
    assert refused(ring, "AKIANOBODY") == "unknown_key"
    assert refused(ring, "AKIAROOT", "some token") == "token"


async def test_secrets_are_sealed_at_rest(store: Store, accounts: Accounts) -> None:
    await store.commit(accounts.users.create, "ann")
    key, secret = await store.commit(accounts.users.create_key, "ann")
    row = await store.view(lambda view: view.get("access_keys", (key.id,)))
    assert secret not in json.dumps(row)


async def test_a_roles_session(store: Store, accounts: Accounts, ring: KeyRing, clock: SetClock) -> None:
    role = await store.commit(accounts.roles.create, "job", TRUST, "/team/")
    await store.commit(accounts.roles.attach, "job", BASIC)
    await ring.refresh(store)
    made = await store.commit(accounts.assume_role, role.arn, "run1", 900)
    for _ in range(2):  # the second time from memory
        secret, principal = ring.find(made.access_key_id, made.session_token)
        assert secret == made.secret_access_key
        assert (principal.kind, principal.name, principal.session) == ("role", "job", "run1")
        assert principal.arn == "arn:aws:iam::000000000000:role/team/job"
        assert "logs:PutLogEvents" in principal.policies[0]["Statement"][0]["Action"]
    assert refused(ring, made.access_key_id) == "unknown_key"
    assert refused(ring, "ASIAOTHER", made.session_token) == "token"
    changed = made.session_token[:40] + ("A" if made.session_token[40] != "A" else "B") + made.session_token[41:]
    assert refused(ring, made.access_key_id, changed) == "token"
    clock.now = made.expires_ms
    assert refused(ring, made.access_key_id, made.session_token) == "token_expired"


async def test_a_session_ends_with_its_role(store: Store, accounts: Accounts, ring: KeyRing) -> None:
    role = await store.commit(accounts.roles.create, "job", TRUST)
    made = await store.commit(accounts.assume_role, role.arn, "run1", 900)
    await store.commit(accounts.roles.delete, "job")
    await store.commit(accounts.roles.create, "job", TRUST)
    await ring.refresh(store)
    assert refused(ring, made.access_key_id, made.session_token) == "unknown_key"


async def test_sessions_in_memory_are_bounded(store: Store, accounts: Accounts, clock: SetClock) -> None:
    small = Accounts(SCOPE, SecuritySettings(sessions_cached_max=2), Sealer(MASTER))
    ring = KeyRing(small, clock, "AKIAROOT", "root-secret")
    role = await store.commit(small.roles.create, "job", TRUST)
    await ring.refresh(store)
    for _ in range(4):
        made = await store.view(small.assume_role, role.arn, "run", 900)
        ring.find(made.access_key_id, made.session_token)
    assert len(ring._sessions) == 2


async def test_sessions_of_users_and_root(store: Store, accounts: Accounts, ring: KeyRing) -> None:
    await store.commit(accounts.users.create, "ann")
    await ring.refresh(store)
    of_user = await store.view(accounts.sessions.of_user, "ann", 900)
    assert ring.find(of_user.access_key_id, of_user.session_token)[1].name == "ann"
    of_root = await store.view(accounts.sessions.of_root, 900)
    assert ring.find(of_root.access_key_id, of_root.session_token)[1].kind == "root"


async def test_bounds_of_sessions(store: Store, accounts: Accounts) -> None:
    role = await store.commit(accounts.roles.create, "job", TRUST)
    for name, seconds in (("ok", 899), ("ok", 43_201), ("x", 900), ("no spaces", 900)):
        with pytest.raises(Invalid):
            await store.view(accounts.assume_role, role.arn, name, seconds)
    with pytest.raises(NotFound):
        await store.view(accounts.assume_role, role.arn + "x", "ok", 900)
    with pytest.raises(NotFound):
        await store.view(accounts.assume_role, "arn:aws:iam::111111111111:role/job", "ok", 900)


async def test_names_limits_and_conflicts(store: Store, accounts: Accounts) -> None:
    users, roles = accounts.users, accounts.roles
    for name in ("", "a b", "ä", "x" * 65, "a/b"):
        with pytest.raises(Invalid):
            await store.commit(users.create, name)
    await store.commit(users.create, "ann")
    with pytest.raises(AlreadyExists):
        await store.commit(users.create, "ann")
    for _ in range(2):
        await store.commit(users.create_key, "ann")
    with pytest.raises(Conflict):
        await store.commit(users.create_key, "ann")
    with pytest.raises(Conflict):
        await store.commit(users.delete, "ann")
    with pytest.raises(Invalid):
        await store.commit(users.put_policy, "ann", "p", "{}")
    with pytest.raises(NotFound):
        await store.commit(users.attach, "ann", "arn:aws:iam::aws:policy/Nonsense")
    with pytest.raises(Invalid):
        await store.commit(roles.create, "job", ALLOW)
    with pytest.raises(NotFound):
        await store.commit(users.delete_key, "AKIANONE")
    for key in await store.view(lambda view: list(users.keys(view, "ann"))):
        await store.commit(users.delete_key, key.id, "ann")
    await store.commit(users.delete, "ann")


async def test_managed_policies_and_their_versions(store: Store, accounts: Accounts, ring: KeyRing) -> None:
    policies = accounts.policies
    policy = await store.commit(policies.create, "reader", ALLOW)
    await store.commit(accounts.roles.create, "job", TRUST)
    await store.commit(accounts.roles.attach, "job", policy.arn)
    with pytest.raises(Conflict):
        await store.commit(policies.delete, policy.arn)
    deny = ALLOW.replace("Allow", "Deny")
    assert await store.commit(policies.add_version, policy.arn, deny, default=True) == "v2"
    arn = (await store.view(accounts.roles.get, "job")).arn
    assert (await store.view(ring.role_in, arn)).policies == (json.loads(deny),)
    with pytest.raises(Conflict):
        await store.commit(policies.delete_version, policy.arn, "v2")
    await store.commit(policies.delete_version, policy.arn, "v1")
    await store.commit(accounts.roles.detach, "job", policy.arn)
    await store.commit(policies.delete, policy.arn)


async def test_the_ring_follows_changes(tmp_path: Path, accounts: Accounts, ring: KeyRing, clock: SetClock) -> None:
    wakeups = Wakeups()
    store = await open_store(tmp_path / "watched", StoreSettings(), clock, wakeups)
    watching = asyncio.create_task(ring.watch(store, wakeups))
    await store.commit(accounts.users.create, "ann")
    key, _ = await store.commit(accounts.users.create_key, "ann")
    await found(ring, key.id, True)
    await store.commit(accounts.users.delete_key, key.id)
    await found(ring, key.id, False)
    watching.cancel()
    await store.close()


async def found(ring: KeyRing, key_id: str, expected: bool) -> None:
    """Wait until the ring knows the key, or does not."""

    def known() -> bool:
        try:
            ring.find(key_id)
        except Unauthenticated:
            return False
        return True

    await until(lambda: known() is expected)


async def test_another_master_key_is_noticed(store: Store, accounts: Accounts) -> None:
    await store.commit(accounts.check_master_key)
    await store.commit(accounts.check_master_key)
    other = Accounts(SCOPE, SecuritySettings(), Sealer(bytes(32)))
    with pytest.raises(Unavailable):
        await store.commit(other.check_master_key)


def test_sealing() -> None:
    sealer = Sealer(MASTER)
    text = sealer.seal(b"secret", "a/1")
    assert sealer.open(text, "a/1") == b"secret"
    assert sealer.seal(b"secret", "a/1") != text
    later = Sealer(bytes(32), version=2, older={1: MASTER})
    assert later.open(text, "a/1") == b"secret"
    for opener, damaged, context in (
        (sealer, text, "a/2"),
        (Sealer(bytes(32)), text, "a/1"),
        (Sealer(bytes(32), version=2), text, "a/1"),
        (sealer, text[:-8], "a/1"),
        (sealer, "", "a/1"),
        (sealer, "no base64!", "a/1"),
    ):
        with pytest.raises(Unsealable):
            opener.open(damaged, context)


def test_key_files_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    made, master = root_key(folder), master_key(folder)
    assert (root_key(folder), master_key(folder)) == (made, master)
    assert read_root_key(folder) == made
    assert len(master) == 32
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "root-key.json": 0o600,
        "master-key": 0o600,
    }
    (folder / "root-key.json").chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        root_key(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"access_key_id": 1, "secret_access_key": 2}', b"\xff"])
def test_damaged_key_files_are_refused(tmp_path: Path, content: bytes) -> None:
    for name, read in (("root-key.json", root_key), ("master-key", master_key)):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeyFileError, match=r"is not a (root|master) key"):
            read(tmp_path)
        assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("00" * 32)
    (tmp_path / "master-key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        master_key(tmp_path)
