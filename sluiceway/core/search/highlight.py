"""Marks around the words that a query found (Elasticsearch reference 7.10, "Highlighting")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluiceway.core.search import analysis
from sluiceway.core.search import plan as plans
from sluiceway.core.search.asking import Analyze
from sluiceway.core.search.index import Token
from sluiceway.core.search.mapping import Fields, Leaf
from sluiceway.core.search.plan import Plan
from sluiceway.core.search.request import Marks
from sluiceway.core.search.terms import prefix_of
from sluiceway.core.search.values import text_of


@dataclass(slots=True)
class Wanted:
    """What is marked in a column. A pattern that is more than a prefix marks nothing."""

    words: set[str] = field(default_factory=set)
    prefixes: set[str] = field(default_factory=set)
    fuzzy: list[plans.Fuzzy] = field(default_factory=list)
    phrases: list[plans.Phrase] = field(default_factory=list)

    def add(self, other: Wanted) -> None:
        """Also mark what ``other`` marks."""
        self.words |= other.words
        self.prefixes |= other.prefixes
        self.fuzzy += other.fuzzy
        self.phrases += other.phrases


def wanted(plan: Plan) -> dict[str, Wanted]:
    """By column."""
    found: dict[str, Wanted] = {}
    for leaf in _leaves(plan):
        here = found.setdefault(leaf.column, Wanted())
        match leaf:
            case plans.Term(_, value):
                here.words.add(str(value))
            case plans.Terms(_, values):
                here.words.update(str(value) for value in values)
            case plans.Phrase(_, words, slop, prefix) if slop or prefix:
                here.words.update(word for _, word in (words[:-1] if prefix else words))
                here.prefixes.update([words[-1][1]] if prefix else [])
            case plans.Phrase():
                here.phrases.append(leaf)
            case plans.Fuzzy():
                here.fuzzy.append(leaf)
            case plans.Pattern(_, regex):
                here.prefixes.update(text for text in [prefix_of(regex)] if text)
    return found


def _leaves(plan: Plan) -> Iterator[Any]:
    match plan:
        case plans.Bool(must, should, _, filter):
            for part in (*must, *should, *filter):
                yield from _leaves(part)
        case plans.Best(parts):
            for part in parts:
                yield from _leaves(part)
        case plans.Boost(part) | plans.Constant(part):
            yield from _leaves(part)
        case plans.Term() | plans.Terms() | plans.Phrase() | plans.Fuzzy() | plans.Pattern():
            yield plan


class Highlighter:
    """For one search. ``found`` is what ``wanted`` made of the query's plan."""

    def __init__(self, fields: Fields, analyze: Analyze, plan: Plan, chars_max: int) -> None:
        self._fields = fields
        self._analyze = analyze
        self._wanted = wanted(plan)
        self._chars_max = chars_max

    def highlights(self, source: Any, marks: Sequence[Marks]) -> dict[str, list[str]]:
        """Fragments by field; fields without any are left out."""
        found = {}
        for mark in marks:
            leaf = self._fields.find(mark.path)
            fragments = self._field(source, leaf, mark) if leaf is not None else []
            if fragments:
                found[mark.path] = fragments
        return found

    def _field(self, source: Any, leaf: Leaf, mark: Marks) -> list[str]:
        looked_for = Wanted()
        for column, here in self._wanted.items():
            if column == leaf.column or not mark.same_field:
                looked_for.add(here)
        around = leaf.path.rpartition(".")[0]
        path = around if around and self._fields.find(around) is not None else leaf.path  # a multi-field's values
        texts = [text_of(value)[: self._chars_max] for value in values_at(source, path.split("."))]
        fragments: list[str] = []
        for text in texts:
            spans = list(self._spans(leaf, text, looked_for))
            if spans and not mark.fragments:
                fragments.append(_marked(text, 0, len(text), spans, mark))
            elif spans:
                fragments += _fragments(text, spans, mark)
        if mark.fragments:
            del fragments[mark.fragments :]
        if not fragments and mark.no_match_size and texts:
            return [texts[0][: mark.no_match_size]]
        return fragments

    def _spans(self, leaf: Leaf, text: str, looked_for: Wanted) -> Iterator[tuple[int, int]]:
        if leaf.type == "keyword":
            tokens: Sequence[Token] = [Token(analysis.normalized(leaf.recipe, text), 0, 0, len(text))]
        else:
            tokens = self._analyze(leaf.recipe, text)
        in_phrases = _in_phrases(tokens, looked_for.phrases)
        for number, token in enumerate(tokens):
            word = token.text
            if (
                word in looked_for.words
                or number in in_phrases
                or any(word.startswith(prefix) for prefix in looked_for.prefixes)
                or any(_is_near(word, near) for near in looked_for.fuzzy)
            ):
                yield token.start, token.end


def values_at(source: Any, path: Sequence[str]) -> Iterator[Any]:
    """Scalars at a path of a document, whose keys may have dots in them."""
    if isinstance(source, list):
        for item in source:
            yield from values_at(item, path)
    elif not path:
        if source is not None and not isinstance(source, dict):
            yield source
    elif isinstance(source, Mapping):
        for size in range(1, len(path) + 1):
            name = ".".join(path[:size])
            if name in source:
                yield from values_at(source[name], path[size:])


def _in_phrases(tokens: Sequence[Token], phrases: Iterable[plans.Phrase]) -> set[int]:
    """Numbers of tokens that are part of a phrase."""
    at = {token.position: number for number, token in enumerate(tokens)}
    found: set[int] = set()
    for phrase in phrases:
        for token in tokens:
            if token.text != phrase.words[0][1]:
                continue
            numbers = [at.get(token.position + place) for place, _ in phrase.words]
            if all(number is not None and tokens[number].text == word
                   for number, (_, word) in zip(numbers, phrase.words, strict=True)):  # fmt: skip
                found.update(number for number in numbers if number is not None)
    return found


def _is_near(word: str, near: plans.Fuzzy) -> bool:
    """Whether so many edits make one of the other, a transposition being one."""
    if abs(len(word) - len(near.word)) > near.distance or word[: near.prefix] != near.word[: near.prefix]:
        return False
    before: list[int] = []
    row = list(range(len(near.word) + 1))
    for i, sign in enumerate(word, 1):
        following = [i]
        for j, other in enumerate(near.word, 1):
            best = min(row[j] + 1, following[-1] + 1, row[j - 1] + (sign != other))
            if i > 1 and j > 1 and sign == near.word[j - 2] and word[i - 2] == other:
                best = min(best, before[j - 2] + 1)
            following.append(best)
        before, row = row, following
    return row[-1] <= near.distance


def _marked(text: str, start: int, end: int, spans: Iterable[tuple[int, int]], mark: Marks) -> str:
    made, at = [], start
    for low, high in spans:
        made += [text[at:low], mark.before, text[low:high], mark.after]
        at = high
    return "".join([*made, text[at:end]])


def _fragments(text: str, spans: Sequence[tuple[int, int]], mark: Marks) -> list[str]:
    """Pieces of about ``fragment_size`` characters, cut between words."""
    size = mark.fragment_size or len(text)
    found: list[str] = []
    number = floor = 0
    while number < len(spans) and len(found) < mark.fragments:
        low, high = spans[number]
        together = number + 1
        while together < len(spans) and spans[together][1] - low <= size:
            high = spans[together][1]
            together += 1
        room = max(0, size - (high - low))
        start = _cut(text, max(floor, low - room // 2), low)
        stop = min(len(text), max(high, start + size))
        end = stop if stop == len(text) else max(high, text.rfind(" ", high, stop + 1))
        found.append(_marked(text, start, end, spans[number:together], mark))
        number, floor = together, end
    return found


def _cut(text: str, start: int, low: int) -> int:
    """The beginning of a word between ``start`` and ``low``."""
    if start == 0:
        return 0
    space = text.find(" ", start, low)
    return space + 1 if space >= 0 else low if start else start
