"""Secrets, parameters and encryption keys, sealed at rest."""

from sluiceway.services.secrets.keys import Keys
from sluiceway.services.secrets.parameters import Parameters
from sluiceway.services.secrets.store import Secrets

__all__ = ["Keys", "Parameters", "Secrets"]
