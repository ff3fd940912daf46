"""Who may call: users and their access keys, roles and their sessions, and the policies of both."""

from sluiceway.services.accounts.keyring import KeyRing
from sluiceway.services.accounts.rows import AccessKey, Credentials, ManagedPolicy, Role, User
from sluiceway.services.accounts.service import Accounts

__all__ = ["AccessKey", "Accounts", "Credentials", "KeyRing", "ManagedPolicy", "Role", "User"]
