"""The checksums of S3's object integrity: running ones, and the arithmetic of parts.

CRC32C and CRC64NVME come from AWS's own native library; in Python they would cost more than the disk.
(S3 User Guide, "Checking object integrity".)
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Protocol

from sluiceway.errors import Invalid
from sluiceway.services.objects.values import Checksum, ChecksumType

#: What S3 computes for an object whose client named no algorithm.
DEFAULT_ALGORITHM: Final = "CRC64NVME"


class Running(Protocol):
    """A checksum being computed."""

    def update(self, data: bytes, /) -> object:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The checksum so far, big endian."""


class _Crc:
    """A CRC as a hash object; ``step(data, previous)`` is the native function."""

    __slots__ = ("_size", "_step", "_value")

    def __init__(self, step: Callable[[bytes, int], int], size: int) -> None:
        self._step = step
        self._size = size
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


@cache
def _crt() -> Any:
    """AWS's library, loaded with the first checksum that needs it: 7 MiB that a start does not wait for."""
    from awscrt import checksums

    return checksums


def _sha1() -> Running:
    return hashlib.sha1(usedforsecurity=False)


_RUNNING: Final[Mapping[str, Callable[[], Running]]] = {
    "CRC32": lambda: _Crc(zlib.crc32, 4),
    "CRC32C": lambda: _Crc(_crt().crc32c, 4),
    "CRC64NVME": lambda: _Crc(_crt().crc64nvme, 8),
    "SHA1": _sha1,
    "SHA256": hashlib.sha256,
}
DIGEST_BYTES: Final[Mapping[str, int]] = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}
#: Algorithm -> the name of what combines two parts' checksums.
_COMBINE: Final[Mapping[str, str]] = {
    "CRC32": "combine_crc32",
    "CRC32C": "combine_crc32c",
    "CRC64NVME": "combine_crc64nvme",
}
ALGORITHMS: Final = tuple(_RUNNING)


def running(algorithm: str) -> Running:
    """A fresh checksum. Raises ``Invalid("checksum_algorithm")``."""
    make = _RUNNING.get(algorithm)
    if make is None:
        raise Invalid(
            "checksum_algorithm",
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            f"[{', '.join(ALGORITHMS)}]",
        )
    return make()


def text_of(digest: bytes) -> str:
    """A digest as S3 writes it."""
    return base64.b64encode(digest).decode()


def is_well_formed(algorithm: str, value: str) -> bool:
    """Whether ``value`` is base64 of as many bytes as the algorithm gives."""
    try:
        return len(base64.b64decode(value, validate=True)) == DIGEST_BYTES[algorithm]
    except ValueError:
        return False


def default_type(algorithm: str) -> ChecksumType:
    """The type of a multipart upload's checksum where the client names none."""
    return "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"


def check_type(algorithm: str, type_: str) -> ChecksumType:
    """Raises ``Invalid("request")`` for a pair that S3 does not have (SHA over a whole multipart object
    can't be had from its parts; CRC64NVME has no composite form)."""
    if type_ == "FULL_OBJECT" and algorithm in _COMBINE:
        return "FULL_OBJECT"
    if type_ == "COMPOSITE" and algorithm in _RUNNING and algorithm != "CRC64NVME":
        return "COMPOSITE"
    message = f"The {type_} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
    raise Invalid("request", message)


def of_parts(algorithm: str, type_: ChecksumType, parts: Sequence[tuple[str, int]]) -> Checksum:
    """The checksum of a multipart object from its parts' (base64 value, size in bytes)."""
    digests = [base64.b64decode(value) for value, _ in parts]
    if type_ == "COMPOSITE":
        whole = running(algorithm)
        whole.update(b"".join(digests))
        return Checksum(algorithm, f"{text_of(whole.digest())}-{len(parts)}", "COMPOSITE")
    value = 0
    combine = getattr(_crt(), _COMBINE[algorithm])
    for digest, (_, size) in zip(digests, parts, strict=True):
        value = combine(value, int.from_bytes(digest, "big"), size)
    return Checksum(algorithm, text_of(value.to_bytes(DIGEST_BYTES[algorithm], "big")), "FULL_OBJECT")
