"""Analyzers by name, resolved to a *recipe*: a tokenizer and its filters in one text, "standard|lowercase".

The index's engine cooks recipes; that a name always means the same recipe keeps texts and queries together.
(Elasticsearch reference 7.10, "Text analysis".) Tokenizers: standard, whitespace, letter, raw. Filters: lowercase,
asciifolding, stop:LANGUAGE, stemmer:LANGUAGE.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.errors import Invalid

STANDARD: Final = "standard|lowercase"
RAW: Final = "raw"

LANGUAGES: Final = frozenset({
    "danish", "dutch", "english", "finnish", "french", "german", "hungarian", "italian", "norwegian", "portuguese",
    "russian", "spanish", "swedish",
})  # fmt: skip

_BUILT_IN: Final[Mapping[str, str]] = {
    "default": STANDARD,
    "keyword": RAW,
    "simple": "letter|lowercase",
    "standard": STANDARD,
    "stop": "letter|lowercase|stop:english",
    "whitespace": "whitespace",
}
_TOKENIZERS: Final[Mapping[str, str]] = {
    "keyword": "raw",
    "letter": "letter",
    "lowercase": "letter|lowercase",
    "standard": "standard",
    "whitespace": "whitespace",
}
_FILTERS: Final[Mapping[str, str]] = {
    "asciifolding": "asciifolding",
    "lowercase": "lowercase",
    "porter_stem": "stemmer:english",
    "stemmer": "stemmer:english",
    "stop": "stop:english",
}


def recipe(name: str, settings: Mapping[str, Any]) -> str:
    """The recipe of analyzer ``name``; ``settings`` are the index's ``analysis`` settings.

    Raises ``Invalid("mapping")``.
    """
    custom = _section(settings, "analyzer").get(name)
    if custom is not None:
        return _custom(name, custom, settings)
    if name in LANGUAGES:
        return f"standard|lowercase|stop:{name}|stemmer:{name}"
    known = _BUILT_IN.get(name)
    if known is None:
        raise Invalid("mapping", f"analyzer [{name}] has not been configured in mappings")
    return known


def normalizer(name: str, settings: Mapping[str, Any]) -> str:
    """The recipe of a keyword field's normalizer. Raises ``Invalid("mapping")``."""
    custom = _section(settings, "normalizer").get(name)
    if custom is None:
        if name != "lowercase":
            raise Invalid("mapping", f"normalizer [{name}] not found")
        return "raw|lowercase"
    if not isinstance(custom, Mapping) or custom.get("char_filter"):
        raise Invalid("settings", f"Custom normalizer [{name}] may only use the filters {_names(_FILTERS)} here")
    steps = _filters(custom, settings)
    if unfit := set(steps) - {"lowercase", "asciifolding"}:
        raise Invalid("settings", f"Custom normalizer [{name}] may not use filter [{sorted(unfit)[0]}]")
    return "|".join(["raw", *steps])


def normalized(recipe: str, text: str) -> str:
    """A keyword as its normalizer's recipe has it."""
    for step in recipe.split("|")[1:]:
        if step == "lowercase":
            text = text.lower()
        else:
            text = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return text


def check(settings: Mapping[str, Any]) -> None:
    """Whether everything in the ``analysis`` settings can be made. Raises ``Invalid("settings")``."""
    if not isinstance(settings, Mapping):
        raise Invalid("settings", "[analysis] must be an object")
    unknown = settings.keys() - {"analyzer", "normalizer", "filter"}
    if unknown:
        raise Invalid("settings", f"analysis.{sorted(unknown)[0]} is not offered here")
    for name, custom in _section(settings, "analyzer").items():
        _custom(name, custom, settings)
    for name in _section(settings, "normalizer"):
        normalizer(name, settings)


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = settings.get(name) or {}
    if not isinstance(section, Mapping):
        raise Invalid("settings", f"analysis.{name} must be an object")
    return section


def _custom(name: str, custom: Any, settings: Mapping[str, Any]) -> str:
    if not isinstance(custom, Mapping):
        raise Invalid("settings", f"analyzer [{name}] must be an object")
    kind = str(custom.get("type", "custom"))
    if kind != "custom":
        if custom.keys() - {"type"} or (kind not in _BUILT_IN and kind not in LANGUAGES):
            raise Invalid("settings", f"analyzer [{name}] of type [{kind}] with these parameters is not offered here")
        return recipe(kind, {})
    if custom.get("char_filter"):
        raise Invalid("settings", f"analyzer [{name}]: char_filter is not offered here")
    tokenizer = _TOKENIZERS.get(str(custom.get("tokenizer")))
    if tokenizer is None:
        raise Invalid("settings", f"Custom Analyzer [{name}] failed to find tokenizer under name "
                      f"[{custom.get('tokenizer')}]; there are {_names(_TOKENIZERS)} here")  # fmt: skip
    return "|".join([tokenizer, *_filters(custom, settings)])


def _filters(custom: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    names = custom.get("filter") or []
    return [_filter(str(name), settings) for name in (names if isinstance(names, list) else [names])]


def _filter(name: str, settings: Mapping[str, Any]) -> str:
    own = _section(settings, "filter").get(name)
    if own is None:
        known = _FILTERS.get(name)
        if known is None:
            raise Invalid("settings", f"failed to find filter under [{name}]; there are {_names(_FILTERS)} here")
        return known
    kind = own.get("type") if isinstance(own, Mapping) else None
    if kind == "stemmer":
        return f"stemmer:{_language(name, own.get('language', own.get('name', 'english')))}"
    if kind == "stop":
        return f"stop:{_language(name, str(own.get('stopwords', '_english_')).strip('_'))}"
    if isinstance(kind, str) and kind in _FILTERS and not own.keys() - {"type"}:
        return _FILTERS[kind]
    raise Invalid("settings", f"filter [{name}] of type [{kind}] with these parameters is not offered here")


def _language(name: str, language: Any) -> str:
    if str(language) not in LANGUAGES:
        raise Invalid("settings", f"filter [{name}]: [{language}] is not one of {_names(LANGUAGES)}")
    return str(language)


def _names(known: Any) -> str:
    return ", ".join(sorted(known))
