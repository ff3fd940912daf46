"""A browser's form, ``multipart/form-data`` (RFC 7578), without a socket: bytes in, fields and the file's bytes out.

Fields are kept up to a limit that covers boundaries and headers as well; the file is never kept. S3 wants the
file to be the last field, and ignores what follows it.
"""

from __future__ import annotations

import re
from typing import Final

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from sluiceway.errors import Invalid, PreconditionFailed, TooLarge

FILE: Final = "file"
_FILENAME: Final = "${filename}"
#: What is parsed at a time before the file is found: the limit on fields is exact to this.
_STEP_BYTES: Final = 512
_BOUNDARY = re.compile(r"[ -~]{0,69}[!-~]\Z")  # RFC 2046, 5.1.1, and whatever else is printable
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,256}\Z")
_PATH = re.compile(r"[/\\]")


class FormReader:
    """Feed it the body. ``fields`` (names in lower case) and ``filename`` are complete once ``file_begun``."""

    def __init__(self, content_type: str, limit_bytes: int) -> None:
        """Raises ``PreconditionFailed("form")`` for another media type, ``Invalid("form")`` for a bad boundary."""
        media_type, options = parse_options_header(content_type)
        if media_type != "multipart/form-data":
            raise PreconditionFailed(
                "form",
                "At least one of the pre-conditions you specified did not hold",
                Condition="Bucket POST must be of the enclosure-type multipart/form-data",
            )
        boundary = options.get("boundary", "")
        if not _BOUNDARY.match(boundary):
            raise _malformed()
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.file_begun = False
        self._parser = PushMultipartParser(boundary)
        self._limit_bytes = limit_bytes
        self._outside = 0  # bytes that are not the file's
        self._in_file = False
        self._name: str | None = None  # of the field being read; None for one that is ignored
        self._value: list[bytes] = []

    def feed(self, raw: bytes) -> list[bytes]:
        """The file's bytes in ``raw``.

        Raises ``Invalid("form"|"argument")``, ``TooLarge("form")`` if all but the file passes the limit.
        """
        found: list[bytes] = []
        at = 0
        while at < len(raw):
            end = len(raw) if self.file_begun else at + _STEP_BYTES
            self._parse(raw[at:end], found)
            at = end
        return found

    def finish(self) -> None:
        """The body is at its end. Raises ``Invalid("form")`` if the form is not, ``Invalid("argument")`` if it had
        no file."""
        try:
            self._parser.close()
        except MultipartError:
            raise _malformed() from None
        if not self.file_begun:
            raise _files(0)

    def filled(self) -> dict[str, str]:
        """The fields with the file's name in the place of ``${filename}``; as S3 has it, a file part that has no
        name at all leaves the variable as it stands."""
        if self.filename is None:
            return dict(self.fields)
        name = _PATH.split(self.filename)[-1]
        places = sum(value.count(_FILENAME) for value in self.fields.values())
        if places * len(name.encode()) > self._limit_bytes:
            raise _too_large()
        return {field: value.replace(_FILENAME, name) for field, value in self.fields.items()}

    def _parse(self, piece: bytes, found: list[bytes]) -> None:
        self._outside += len(piece)
        try:
            for event in self._parser.parse(piece):
                if event is None:
                    self._end()
                elif isinstance(event, MultipartSegment):
                    self._begin(event)
                else:
                    self._take(bytes(event), found)
        except ParserLimitReached:
            raise _too_large() from None
        except MultipartError:
            raise _malformed() from None
        if self._outside > self._limit_bytes:
            raise _too_large()

    def _begin(self, segment: MultipartSegment) -> None:
        given = segment.name or ""
        if not _NAME.match(given):
            raise _malformed()
        name = given.lower()
        if name == FILE:
            if self.file_begun:
                raise _files(2)
            self.file_begun = self._in_file = True
            self.filename = segment.filename
        elif not self.file_begun:
            if name in self.fields:
                # Which of two would the policy speak of, and which be stored?
                raise Invalid(
                    "argument", "A form's field must not be given twice.", ArgumentName=given, ArgumentValue="2"
                )
            self._name = name

    def _take(self, data: bytes, found: list[bytes]) -> None:
        if self._in_file:
            self._outside -= len(data)
            found.append(data)
        elif self._name is not None:
            self._value.append(data)

    def _end(self) -> None:
        if self._name is not None:
            try:
                self.fields[self._name] = b"".join(self._value).decode()
            except UnicodeDecodeError:
                raise _malformed() from None
        self._in_file = False
        self._name = None
        self._value = []


def _malformed() -> Invalid:
    return Invalid("form", "The body of your POST request is not well-formed multipart/form-data.")


def _too_large() -> TooLarge:
    return TooLarge("form", "Your POST request fields preceding the upload file were too large.")


def _files(count: int) -> Invalid:
    return Invalid(
        "argument",
        "POST requires exactly one file upload per request.",
        ArgumentName=FILE,
        ArgumentValue=str(count),
    )
