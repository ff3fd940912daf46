"""One index on disk: its schema, its documents, its position.

A generation is a folder. The position stands in the index itself as a document of its own, so it is committed
with the changes that it counts; a generation without one was never finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import tantivy

from sluiceway.core.search.analysis import STANDARD
from sluiceway.core.search.index import Change, Kind, Text
from sluiceway.engines.tantivy.analyzers import Kitchen

#: Columns that an index has at least, so that it isn't made again for each new field. Empty ones cost little.
_LEAST: Final[Mapping[Kind, int]] = {"t": 16, "k": 16, "i": 16, "f": 8}


def schema_for(columns: Mapping[Kind, int]) -> Any:
    """A schema with at least so many columns of each kind, and room to grow."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("kind", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("position", stored=True)
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("sequence", indexed=True, fast=True)
    builder.add_text_field("has", tokenizer_name="raw", index_option="basic")
    builder.add_bytes_field("head", stored=True)
    builder.add_bytes_field("source", stored=True)
    for name in columns_for(columns):
        if name[0] == "t":
            builder.add_text_field(name, tokenizer_name="standard", index_option="position")
        elif name[0] == "k":
            builder.add_text_field(name, fast=True, tokenizer_name="raw", index_option="basic")
        elif name[0] == "i":
            builder.add_integer_field(name, indexed=True, fast=True)
        else:
            builder.add_float_field(name, indexed=True, fast=True)
    return builder.build()


def columns_for(columns: Mapping[Kind, int]) -> list[str]:
    """The columns of an index that was made for so many."""
    made = []
    for kind, least in _LEAST.items():
        size = least
        while size < columns.get(kind, 0):
            size *= 2
        made += [f"{kind}{number}" for number in range(size)]
    return made


def write(writer: Any, change: Change, kitchen: Kitchen, columns: frozenset[str], *, fresh: bool = False) -> None:
    """Put ``change`` into the writer; ``fresh`` if the index can't have the document yet."""
    if not fresh:
        writer.delete_documents_by_term("id", change.id)
    if change.source is None:
        return
    document = tantivy.Document()
    document.add_text("kind", "document")
    document.add_text("id", change.id)
    document.add_integer("sequence", change.sequence)
    for path in change.paths:
        document.add_text("has", path)
    kept = {}
    for column, values in change.columns.items():
        if column in columns:
            _add(document, column, values, kitchen)
            if column[0] != "t":
                kept[column] = values
    document.add_bytes("head", orjson.dumps([change.version, change.sequence, kept]))
    document.add_bytes("source", change.source.encode())
    writer.add_document(document)


def _add(document: Any, column: str, values: Sequence[Any], kitchen: Kitchen) -> None:
    for value in values:
        if isinstance(value, Text):
            if value.analyzer == STANDARD:
                document.add_text(column, value.value)
            else:
                document.add_pre_tokenized_text(column, kitchen.cut(value.analyzer, value.value))
        elif column[0] == "k":
            document.add_text(column, value)
        elif column[0] == "i":
            document.add_integer(column, value)
        else:
            document.add_float(column, float(value))


def set_position(writer: Any, position: int) -> None:
    """Note where the index is, for the next commit."""
    writer.delete_documents_by_term("kind", "position")
    note = tantivy.Document()
    note.add_text("kind", "position")
    note.add_unsigned("position", position)
    writer.add_document(note)


def position_of(index: Any) -> int | None:
    """What ``set_position`` noted and a commit kept."""
    searcher = index.searcher()
    query = tantivy.Query.term_query(index.schema, "kind", "position")
    hits = searcher.search(query, 1).hits
    return int(searcher.doc(hits[0][1])["position"][0]) if hits else None


def generations(folder: Path) -> list[int]:
    """Numbers of the generations in an index's folder, the newest first."""
    if not folder.is_dir():
        return []
    return sorted((int(path.name[1:]) for path in folder.iterdir() if path.name[1:].isdecimal()), reverse=True)
