"""HTTP and WebSocket APIs: what they are made of, and what a stage serves."""

from sluiceway.services.apis.service import Apis
from sluiceway.services.apis.serving import Authorizer, Integration, Route, Served

__all__ = ["Apis", "Authorizer", "Integration", "Route", "Served"]
