"""Event source mappings: which function gets what comes by a stream, a table's changes, or a queue."""

from sluiceway.services.mappings.rights import RoleRights
from sluiceway.services.mappings.service import Mappings
from sluiceway.services.mappings.sources import Sources
from sluiceway.services.mappings.values import Place, Source, SourceMapping

__all__ = ["Mappings", "Place", "RoleRights", "Source", "SourceMapping", "Sources"]
