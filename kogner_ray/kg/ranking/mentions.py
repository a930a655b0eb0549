"""Mentions as they are looked up: abbreviations by their long forms, those of a document that say the same together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kogner_ray.data.abbreviations import find_definitions
from kogner_ray.data.spans import Document
from kogner_ray.data.words import Words, split_words
from kogner_ray.kg.ranking.finder import Ints, Query
from kogner_ray.kg.ranking.pool import Floats, Group


@dataclass(frozen=True)
class Mentions:
    """The mentions of one document.

    Attributes:
        text: the whole document, which says what its abbreviations stand for.
        words: of `text`.
        surfaces: the mentions' characters.
        types: the mentions' types.
    """

    text: str
    words: Words
    surfaces: Sequence[str]
    types: Sequence[str]


def mentions_of(document: Document) -> Mentions:
    """The entities of `document` as mentions."""
    surfaces = [document.surface(entity) for entity in document.entities]
    return Mentions(document.text, split_words(document.text), surfaces, [entity.type for entity in document.entities])


@dataclass(frozen=True)
class Grouped:
    """Mentions of several documents in groups.

    Attributes:
        groups: of all documents, in order.
        group_of: (M,) group of each mention, in order.
    """

    groups: list[Group]
    group_of: Ints

    def mean_points(self, points: Floats) -> Floats:
        """(G, d) directions of the groups' means of (M, d) `points`."""
        sums = np.zeros((len(self.groups), points.shape[1]), dtype=np.float32)
        np.add.at(sums, self.group_of, points)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        means: Floats = (sums / np.maximum(norms, 1e-12)).astype(np.float32)
        return means


def group_mentions(documents: Sequence[Mentions]) -> Grouped:
    """The groups of `documents`."""
    groups: list[Group] = []
    group_of: list[int] = []
    for number, document in enumerate(documents):
        long_forms = defined(document.text, document.words) if document.surfaces else {}
        places: dict[tuple[str, str], int] = {}
        queries: dict[str, Query] = {}
        for surface, type in zip(document.surfaces, document.types, strict=True):
            if surface not in queries:
                queries[surface] = as_query(surface, long_forms)
            query = queries[surface]
            key = (query.key, type)
            if key not in places:
                places[key] = len(groups)
                groups.append(Group(number, query, type))
            group_of.append(places[key])
    return Grouped(groups, np.array(group_of, dtype=np.int64))


def defined(text: str, words: Words) -> dict[str, str]:
    """Abbreviations that `text` defines, with their long forms; the first definition counts."""
    long_forms: dict[str, str] = {}
    for found in find_definitions(words):
        long_forms.setdefault(found.short, text[words.starts[found.first] : words.ends[found.last]])
    return long_forms


def as_query(surface: str, long_forms: Mapping[str, str]) -> Query:
    """`surface` with its abbreviations written out, and without those in brackets behind their long form."""
    if not long_forms:
        return Query(surface)
    words = split_words(surface)
    if not any(word in long_forms or _short_of(word, long_forms) for word in words.texts):
        return Query(surface)
    pieces, at, bracket = [], 0, ""
    for word, start, end in zip(words.texts, words.starts, words.ends, strict=True):
        short = word if word in long_forms else _short_of(word, long_forms)
        if not short:
            bracket = word if word in "([" else ""
            continue
        before = surface[at:start]
        if bracket and surface[end : end + 1] in (")", "]"):
            pieces.append(before.rstrip("([ "))
            at = end + 1
        else:
            pieces += [before, long_forms[short]]
            at = end
        bracket = ""
    written = " ".join("".join([*pieces, surface[at:]]).split())
    return Query(written, surface) if written else Query(surface)


def _short_of(word: str, long_forms: Mapping[str, str]) -> str:
    """The abbreviation of which `word` is the plural, or ""."""
    return word[:-1] if word.endswith("s") and word[:-1] in long_forms else ""
