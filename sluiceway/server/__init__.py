"""Puts the parts together; the only place that sees all of them."""

from sluiceway.server.server import Server

__all__ = ["Server"]
