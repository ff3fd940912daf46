"""Every kind of target that topics and functions deliver to, put together."""

from __future__ import annotations

from collections.abc import Callable

from sluiceway.config import DeliverySettings
from sluiceway.core.clock import Clock
from sluiceway.core.identity import Scope
from sluiceway.core.store import Store
from sluiceway.reactions.target import InStoreTarget, OutwardTarget
from sluiceway.reactions.targets.function import Functions, FunctionTarget
from sluiceway.reactions.targets.gateways import gateway_of
from sluiceway.reactions.targets.http import HttpTarget
from sluiceway.reactions.targets.mail import EmailTarget, Mailer
from sluiceway.reactions.targets.notice import NoticeTarget
from sluiceway.reactions.targets.phone import SmsTarget, Texter
from sluiceway.reactions.targets.queue import Queues, QueueTarget
from sluiceway.reactions.targets.web import Web
from sluiceway.services.access import Authorize
from sluiceway.services.outbox import Outbox
from sluiceway.services.topics.envelopes import Envelopes, Signer
from sluiceway.services.topics.texting import Texting


def topic_targets(
    store: Store,
    queues: Queues,
    functions: Functions,
    authorize: Authorize,
    signer: Signer,
    own_url: Callable[[], str],
    scope: Scope,
    settings: DeliverySettings,
    clock: Clock,
) -> dict[str, InStoreTarget | OutwardTarget]:
    """The targets of subscriptions by kind, for ``Dispatcher``. ``own_url`` is this server's address as its
    clients reach it."""
    envelopes, outbox = Envelopes(signer, own_url), Outbox(settings.outbox_max)
    web, carrier = Web(settings, guarded=not settings.allow_private_targets), Web(settings, guarded=False)
    mailer = Mailer(settings, store, outbox, clock)
    texter = Texter(store, Texting(settings), outbox, gateway_of(settings, carrier), clock)
    return {
        "queue": QueueTarget(envelopes, queues, authorize, scope),
        "function": FunctionTarget(envelopes, functions, authorize, scope),
        "http": HttpTarget(envelopes, web),
        "email": EmailTarget(envelopes, mailer),
        "sms": SmsTarget(envelopes, texter, carrier),
        "notice": NoticeTarget(envelopes, web, mailer, texter),
    }
