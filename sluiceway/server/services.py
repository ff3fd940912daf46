"""The services over one store: everything that is asked, without a protocol and without a task."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sluiceway.config import Settings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.store import View
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.inprocess import KnownPrincipals
from sluiceway.engines.filesystem import FileBlobs
from sluiceway.engines.keyfile import KeyFileError, RootKey, master_key, root_key
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import AccessDenied, Invalid, NotFound, Unavailable
from sluiceway.server.bucket_events import BucketEvents
from sluiceway.server.bucket_keys import BucketKeys
from sluiceway.server.signer import LaterSigner
from sluiceway.services.access import authorize
from sluiceway.services.accounts import Accounts, KeyRing
from sluiceway.services.apis import Apis
from sluiceway.services.connections import Connections
from sluiceway.services.documents import Documents
from sluiceway.services.documents.domains import Domains
from sluiceway.services.function_logs import FunctionLogs
from sluiceway.services.functions import Functions
from sluiceway.services.functions.letters import PolicyOf, RoleGuard
from sluiceway.services.mappings import Mappings, RoleRights, Sources
from sluiceway.services.objects import Objects
from sluiceway.services.objects.rows import BODIES, BUCKETS, OBJECTS, SETTINGS
from sluiceway.services.people import People
from sluiceway.services.pressure import Pressure
from sluiceway.services.queues import Queues
from sluiceway.services.queues.states import COUNTERS
from sluiceway.services.queues.upgrade import upgrade
from sluiceway.services.queues.values import QUEUES
from sluiceway.services.reactions import Reactions
from sluiceway.services.sealing import Sealer
from sluiceway.services.secrets import Keys, Parameters, Secrets
from sluiceway.services.stacks.state import Stacks
from sluiceway.services.streams import Streams
from sluiceway.services.tables import Tables
from sluiceway.services.topics import Topics
from sluiceway.services.topics.envelopes import Envelopes
from sluiceway.services.topics.letters import LetterGuard
from sluiceway.services.topics.values import TOPICS

#: Tables that nearly every request to a bucket, a topic or a queue reads, and few change.
_STEADY: Final = frozenset({BUCKETS, SETTINGS, TOPICS, QUEUES})
#: Tables of which some rows are read again and again.
_HOT: Final = frozenset({OBJECTS, BODIES})
#: Tables of counters, which nearly every message changes.
_BUSY: Final = frozenset({COUNTERS})
_LAMBDA: Final = "lambda.amazonaws.com"
_APIS: Final = "apigateway.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Place:
    """Where this server is: its folder, and its address as its clients reach it."""

    data: Path
    url: Callable[[], str]


class Services:
    """Opened by ``open_services``. Members are named after what they hold."""

    authorize = staticmethod(authorize)

    def __init__(
        self, settings: Settings, place: Place, store: SqliteStore, blobs: FileBlobs, wakeups: Wakeups, sealer: Sealer,
        root: RootKey,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.sealer = sealer
        self.place = place
        self.store = store
        self.blobs = blobs
        self.wakeups = wakeups
        self.clock = clock = SystemClock()
        self.scope = scope = Scope(settings.account, settings.region)
        self.pressure = Pressure(
            lambda: shutil.disk_usage(place.data).free, settings.store.reserve_bytes, settings.reactions.unsettled_max
        )
        self.accounts = Accounts(scope, settings.security, sealer)
        self.ring = KeyRing(self.accounts, clock, root.access_key_id, root.secret_access_key)
        self.verifier = KnownPrincipals(self.ring, scope, clock, settings.security)
        self.keys = Keys(scope, settings.secrets, sealer)
        self.signer = LaterSigner(place.data)
        self.queues = Queues(scope, settings.queues, self.keys.check_usable, Envelopes(self.signer, place.url).finish)
        policies: dict[str, PolicyOf] = {
            "sqs": self.queues.policy, "sns": lambda view, name: self.topics.policy(view, name),
        }  # fmt: skip
        guards = (LetterGuard(self.queues, scope), RoleGuard(scope, self.caller_of, policies))
        self.reactions = Reactions(settings.reactions, self.queues, *guards, topics=lambda: self.topics)
        self.topics = Topics(scope, settings.topics, self.reactions)
        self.functions = Functions(scope, settings.functions, self.reactions)
        self.logs = FunctionLogs(settings.functions)
        events = BucketEvents(scope, self.topics, self.queues, self.functions, self.pressure)
        self.objects = Objects(scope, settings.objects, events, BucketKeys(self.keys))
        self.secrets = Secrets(scope, settings.secrets, sealer)
        self.parameters = Parameters(scope, settings.secrets, sealer)
        self.streams = Streams(scope, settings.streams)
        self.tables = Tables(scope, settings.tables)
        self.mappings = Mappings(scope, settings.mappings, self.reactions)
        self.rights = RoleRights(self.caller_of, self.queues.policy)
        self.sources = Sources(scope, self.streams, self.tables, self.queues)
        self.apis = Apis(scope, settings.apis)
        self.connections = Connections()
        self.people = People(settings.apis)
        self.documents = Documents(settings.search)
        self.domains = Domains(scope, settings.search)
        self.stacks = Stacks(scope, settings.stacks)

    def caller_of(self, view: View, function: str) -> Principal:
        """A function's role as a caller. Raises ``NotFound``."""
        return self.ring.role_in(view, self.functions.get(view, function).settings.role, function)

    def role_of(self, view: View, function: str) -> str:
        """The ARN of a function's role. Raises ``NotFound("function")``."""
        return self.functions.get(view, function).settings.role

    async def may_invoke(self, function: str, source_arn: str) -> bool:
        """Whether the function's policy lets an API call it."""
        service = Principal(kind="service", account=self.scope.account, name=_APIS, arn=_APIS)
        conditions = {"aws:SourceArn": [source_arn], "aws:SourceAccount": [self.scope.account]}
        try:
            policy = await self.store.view(self.functions.policy, function)
            authorize(service, "lambda:InvokeFunction", self.functions.arn(function), conditions, policy)
        except (NotFound, AccessDenied):
            return False
        return True

    def check_role(self, view: View, role_arn: str) -> None:
        """Raises ``Invalid("value")`` unless functions may run with the role."""
        refusal = "The role defined for the function cannot be assumed by Lambda."
        service = Principal(kind="service", account=self.scope.account, name=_LAMBDA, arn=_LAMBDA)
        try:
            role = self.accounts.roles.by_arn(view, role_arn)
            authorize(service, "sts:AssumeRole", role_arn, {}, json.loads(role.trust), trust=True)
        except (NotFound, AccessDenied, Invalid):
            raise Invalid("value", refusal) from None

    async def close(self) -> None:
        """Let go of the files."""
        await self.store.close()
        self.blobs.close()


async def open_services(settings: Settings, place: Place) -> Services:
    """Open the data folder. Raises ``Unavailable`` with what to do."""
    try:
        root = await asyncio.to_thread(root_key, place.data)
        sealer = Sealer(await asyncio.to_thread(master_key, place.data))
    except KeyFileError as error:
        raise Unavailable("key", str(error)) from None
    wakeups = Wakeups()
    store = await open_store(place.data / "store.db", settings.store, SystemClock(), wakeups, _STEADY, _HOT, _BUSY)
    blobs = FileBlobs(place.data / "blobs")
    made = Services(settings, place, store, blobs, wakeups, sealer, root)
    try:
        await store.commit(made.accounts.check_master_key)
        while await store.commit(upgrade, settings.queues):
            pass
        await made.ring.refresh(store)
    except BaseException:
        await made.close()
        raise
    return made


__all__ = ["Place", "Services", "open_services"]
