"""Recipes of analysis, cooked (see ``core.search.analysis``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import tantivy

from sluiceway.core.search.analysis import STANDARD
from sluiceway.core.search.index import Token

#: Words as Unicode's segmentation has them (UAX #29), in one expression: ideographs alone, numbers with their
#: signs, letters with what stands inside of words.
_SINGLE: Final = r"\p{Han}\p{Hiragana}"
_STANDARD: Final = (
    rf"[{_SINGLE}]|\p{{Katakana}}+|\d+(?:[.,;']\d+)+|"
    rf"[\w--{_SINGLE}--\p{{Katakana}}]+(?:[.:'’·][\p{{L}}--{_SINGLE}--\p{{Katakana}}][\w--{_SINGLE}--\p{{Katakana}}]*)*"
)
_WORD_BYTES_MAX: Final = 256


class Kitchen:
    """Analyzers by recipe; each is made once."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def analyzer(self, recipe: str) -> Any:
        """A Tantivy ``TextAnalyzer``."""
        made = self._made.get(recipe)
        if made is None:
            made = self._made[recipe] = _cooked(recipe)
        return made

    def tokens(self, recipe: str, text: str) -> Sequence[Token]:
        """The words of ``text``."""
        found = self.analyzer(recipe).pre_tokenize(text).tokens
        return [Token(token.text, token.position, token.char_offset_from, token.char_offset_to) for token in found]

    def cut(self, recipe: str, text: str) -> Any:
        """``text`` in words, for ``Document.add_pre_tokenized_text``."""
        return self.analyzer(recipe).pre_tokenize(text)

    def register(self, index: Any) -> None:
        """Let the index cut plain texts by the standard recipe itself."""
        index.register_tokenizer("standard", self.analyzer(STANDARD))


def _cooked(recipe: str) -> Any:
    name, *filters = recipe.split("|")
    tokenizer: Callable[[], Any] = {
        "letter": lambda: tantivy.Tokenizer.regex(r"\p{L}+"),
        "raw": tantivy.Tokenizer.raw,
        "standard": lambda: tantivy.Tokenizer.regex(_STANDARD),
        "whitespace": lambda: tantivy.Tokenizer.regex(r"\S+"),
    }[name]
    builder = tantivy.TextAnalyzerBuilder(tokenizer())
    for step in filters:
        builder = builder.filter(_filter(step))
    return builder.filter(tantivy.Filter.remove_long(_WORD_BYTES_MAX)).build()


def _filter(step: str) -> Any:
    kind, _, language = step.partition(":")
    if kind == "lowercase":
        return tantivy.Filter.lowercase()
    if kind == "asciifolding":
        return tantivy.Filter.ascii_fold()
    return tantivy.Filter.stopword(language) if kind == "stop" else tantivy.Filter.stemmer(language)
