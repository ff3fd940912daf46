"""Event processing that you own: one durable process that speaks the protocols tools already speak."""

__version__ = "0.1.0"
