"""The bare echo, with bodies as large as those of the cases."""

from __future__ import annotations

from bench.case import Case, Made, repeat
from bench.load import Script
from bench.wire import Target, plain

MIB = 1 << 20


class EchoKib(Case):
    name = "echo 1 KiB"

    def script(self, target: Target, made: Made, worker: int) -> Script:
        """1 KiB there and back."""
        return repeat([plain("POST", "/", bytes(1024), {"Host": "bench"})])


class EchoMib(Case):
    name = "echo 1 MiB in"
    base = name
    size = MIB

    def script(self, target: Target, made: Made, worker: int) -> Script:
        """1 MiB there, 2 bytes back."""
        return repeat([plain("POST", "/2", bytes(MIB), {"Host": "bench"})])


class GiveMib(Case):
    name = "echo 10 MiB out"
    base = name
    size = 10 * MIB

    def script(self, target: Target, made: Made, worker: int) -> Script:
        """10 MiB back, in pieces of 64 KiB."""
        return repeat([plain("GET", f"/{10 * MIB}", b"", {"Host": "bench"})])
