"""The server's own pages below ``/_sluiceway/``: health, metrics, and what the command line asks for."""
