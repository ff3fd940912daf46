"""The only reader of environment and files. Every limit stands here with its unit and its reason.

Settings come from the environment (``SLUICEWAY_`` and the name in capitals; sections are joined by two
underscores: ``SLUICEWAY_HTTP__PORT=4566``) and from ``sluiceway.toml`` in the data folder, in this order.
"""

from __future__ import annotations

from sluiceway.config.apis import ApiSettings
from sluiceway.config.data import SearchSettings, StreamSettings, TableSettings
from sluiceway.config.functions import FunctionSettings, MappingSettings
from sluiceway.config.http import HttpSettings
from sluiceway.config.messaging import DeliverySettings, QueueSettings, ReactionSettings, TopicSettings
from sluiceway.config.objects import ObjectSettings
from sluiceway.config.reader import BadVariable, cache_folder, load_settings, program_path, runtime_folder
from sluiceway.config.security import SecretSettings, SecuritySettings
from sluiceway.config.settings import Settings
from sluiceway.config.stacks import StackSettings
from sluiceway.config.store import StoreSettings

__all__ = [
    "ApiSettings",
    "BadVariable",
    "DeliverySettings",
    "FunctionSettings",
    "HttpSettings",
    "MappingSettings",
    "ObjectSettings",
    "QueueSettings",
    "ReactionSettings",
    "SearchSettings",
    "SecretSettings",
    "SecuritySettings",
    "Settings",
    "StackSettings",
    "StoreSettings",
    "StreamSettings",
    "TableSettings",
    "TopicSettings",
    "cache_folder",
    "load_settings",
    "program_path",
    "runtime_folder",
]
