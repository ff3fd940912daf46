"""The object service: buckets, objects, multipart uploads, and the events that their changes are."""

from sluiceway.services.objects.notifications import NotificationPort
from sluiceway.services.objects.service import Objects

__all__ = ["NotificationPort", "Objects"]
