"""Domain errors: what went wrong in the words of the domain, without HTTP and without AWS codes.

Edges map (class, kind) to a wire code in one table each. What is not in a table is "internal": its
details go to the log only.
"""

from __future__ import annotations


class DomainError(Exception):
    """Base of every error that a client caused or must be told of.

    ``kind`` names the thing in domain words ("bucket", "queue", "receipt_handle", ...), so that an edge
    can map (class, kind) to its protocol's code. ``message`` is for the client and says what to do.
    ``detail`` holds further fields that a protocol wants in its error body.
    """

    def __init__(self, kind: str, message: str, **detail: object) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.detail = detail


class NotFound(DomainError):
    """The named thing does not exist."""


class AlreadyExists(DomainError):
    """The named thing exists already, or exists with other attributes."""


class Invalid(DomainError):
    """A value does not fit: its form, its range, or its combination with another."""


class TooLarge(DomainError):
    """A body, a batch, a key or a document is over its documented limit."""


class Conflict(DomainError):
    """The thing is in a state that does not allow the operation (not empty, in use, being changed)."""


class PreconditionFailed(DomainError):
    """A condition that the client gave (If-Match, a condition expression, a version) does not hold."""


class AccessDenied(DomainError):
    """The caller is known, but may not do this."""


class Unauthenticated(DomainError):
    """The caller's proof of identity is missing, malformed, expired or wrong."""


class Throttled(DomainError):
    """A limit on rate, concurrency or waiting work is reached; try again later."""


class Unavailable(DomainError):
    """The server can't do this safely now (full disk, failed fsync, shutting down)."""


class NotImplementedYet(DomainError):
    """A documented operation or option of the protocol that this server does not have."""
