"""The object service: what an edge or the wiring holds in its hand."""

from __future__ import annotations

from sluiceway.config import ObjectSettings
from sluiceway.core.identity import Scope
from sluiceway.services.objects.acls import Acls
from sluiceway.services.objects.buckets import Buckets
from sluiceway.services.objects.contents import Contents
from sluiceway.services.objects.encryption import Encrypting, KeyPort
from sluiceway.services.objects.history import History
from sluiceway.services.objects.lifecycle.service import Lifecycle
from sluiceway.services.objects.multipart import Multipart
from sluiceway.services.objects.notifications import NotificationPort
from sluiceway.services.objects.removals import Removals
from sluiceway.services.objects.restoring import Restoring


class Objects:
    """All methods of its members are synchronous functions ``(tx or view, ...)`` for ``Store.commit`` and
    ``Store.view``. Listings are in ``listing`` and ``version_listing``, references to blobs in ``garbage``."""

    def __init__(self, scope: Scope, limits: ObjectSettings, deliver: NotificationPort, keys: KeyPort) -> None:
        history = History(scope, deliver)
        encrypting = Encrypting(keys)
        self.scope = scope
        self.limits = limits
        self.acls = Acls(history)
        self.buckets = Buckets(scope, limits, deliver, self.acls)
        self.contents = Contents(limits, history, encrypting)
        self.removals = Removals(limits, history)
        self.multipart = Multipart(limits, self.contents, encrypting)
        self.restoring = Restoring(limits, history)
        self.lifecycle = Lifecycle(self.buckets, self.multipart, self.removals, history)
