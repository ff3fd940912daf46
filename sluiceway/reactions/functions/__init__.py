"""Functions' worker processes: AWS's own runtime clients, fed through AWS's own Lambda Runtime API."""

from sluiceway.reactions.functions.pool import FunctionPool

__all__ = ["FunctionPool"]
