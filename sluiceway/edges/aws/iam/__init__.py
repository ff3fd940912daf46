"""IAM's protocol: users, access keys, roles and policies (IAM API reference)."""

from __future__ import annotations

from typing import Final

from sluiceway.core.store import Store
from sluiceway.edges.aws.iam.desk import Desk
from sluiceway.edges.aws.iam.holders import holder_operations
from sluiceway.edges.aws.iam.keys import key_operations
from sluiceway.edges.aws.iam.policies import policy_operations
from sluiceway.edges.aws.iam.roles import role_operations
from sluiceway.edges.aws.iam.users import user_operations
from sluiceway.edges.aws.operations import ErrorTable, ServiceEdge
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound
from sluiceway.services.accounts import Accounts, KeyRing

_ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "NoSuchEntityException",
    (AlreadyExists, "*"): "EntityAlreadyExistsException",
    (Conflict, "limit"): "LimitExceededException",
    (Conflict, "*"): "DeleteConflictException",
    (Invalid, "policy"): "MalformedPolicyDocumentException",
    (Invalid, "*"): "InvalidInputException",
}


def iam_edge(store: Store, accounts: Accounts, keyring: KeyRing | None = None) -> ServiceEdge:
    """The edge. With ``keyring``, what was changed is in force before the change is answered."""
    desk = Desk(store, accounts, keyring)
    operations = {
        **user_operations(desk),
        **key_operations(desk),
        **role_operations(desk),
        **policy_operations(desk),
        **holder_operations(desk, "User", accounts.users),
        **holder_operations(desk, "Role", accounts.roles),
    }
    return ServiceEdge("iam", "iam", operations, _ERRORS)
