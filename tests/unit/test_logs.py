"""The log on standard error."""

from __future__ import annotations

import io
import logging

from sluiceway.cli.logs import BoundedHandler


def record(text: str, *args: object, name: str = "sluiceway.a") -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, text, args, None)


def test_so_many_lines_of_a_kind_in_a_second_and_then_how_many_were_left_out() -> None:
    stream, now = io.StringIO(), 7.0
    handler = BoundedHandler(stream, 3, lambda: now)
    for number in range(10):
        handler.handle(record("refused %d%%", number))
    handler.handle(record("another kind"))
    handler.handle(record("refused %d%%", 10, name="sluiceway.b"))
    assert stream.getvalue().splitlines() == ["refused 0%", "refused 1%", "refused 2%", "another kind", "refused 10%"]
    now = 8.1
    handler.handle(record("refused %d%%", 11))
    assert stream.getvalue().splitlines()[5:] == ["7 more like this were left out: refused %d%%", "refused 11%"]
    now = 9.0
    handler.handle(record("quiet again"))
    assert stream.getvalue().splitlines()[7:] == ["quiet again"]


def test_texts_that_are_all_different_are_bounded_too() -> None:
    stream = io.StringIO()
    handler = BoundedHandler(stream, 3, lambda: 1.0)
    for number in range(5000):
        handler.handle(record(f"text {number}"))
    assert len(stream.getvalue().splitlines()) == 1003
