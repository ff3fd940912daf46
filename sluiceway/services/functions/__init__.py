"""The function service: what functions there are, who may call them, and what waits to be run."""

from sluiceway.services.functions.service import Functions
from sluiceway.services.functions.values import Code, Function, Settings, log_of, reaction_of

__all__ = ["Code", "Function", "Functions", "Settings", "log_of", "reaction_of"]
