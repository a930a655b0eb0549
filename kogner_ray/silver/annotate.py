"""Raw documents to candidates: the KG names in them, each believed or doubted by what the raw corpus says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.data.abbreviations import is_short_form
from kogner_ray.data.spans import UNKNOWN, Document, Entity
from kogner_ray.data.words import Words, split_words
from kogner_ray.silver.evidence import Evidence
from kogner_ray.silver.names import Match, NameFinder

NAME, DOUBTED = "name", "doubted"
"""Attributes of a candidate: the name that it is one of, and, where the raw corpus speaks against it, a mark."""


class NamesConfig(Config):
    """Which KG names the raw text lets one believe.

    Attributes:
        min_residual_idf: bits of residual inverse document frequency under which a name is doubted as a common word.
        rare: names that occur at most so often are not judged by it.
        min_length: characters under which a name is doubted, unless the raw text defines it as an abbreviation.
        contested: believe names that entities of other types have, too.
        max_width: words of the longest name.
        mask: words outside all names are `UNKNOWN`, not negative, unless they are common: more than `rare` occurrences
            and a residual inverse document frequency under `mask` bits. For KGs that have few of the names; None masks
            nothing.
    """

    min_residual_idf: float = 0.4
    rare: int = Field(8, ge=0)
    min_length: int = Field(4, gt=0)
    contested: bool = True
    max_width: int = Field(12, gt=0)
    mask: float | None = None


class Annotator:
    """Finds candidates by the names of a KG and the evidence of a raw corpus."""

    def __init__(self, finder: NameFinder, evidence: Evidence, config: NamesConfig) -> None:
        """Judge what `finder` finds by `evidence`."""
        self._finder, self._evidence, self._config = finder, evidence, config
        self._short_forms = evidence.short_forms()

    def annotate(self, document: Document) -> Document:
        """`document` with its candidates as entities, from left to right, none overlapping another.

        Each carries the attribute `NAME`, and `DOUBTED` where the raw corpus speaks against it. What the document was
        annotated with before is not looked at.
        """
        words = split_words(document.text)
        found = list(self._candidates(document.text, words))
        if self._config.mask is not None:
            found = sorted([*found, *self._masked(words, found, self._config.mask)], key=lambda entity: entity.start)
        return Document(document.id, document.text, tuple(found), self._finder.types)

    def _candidates(self, text: str, words: Words) -> Iterator[Entity]:
        after = 0
        for match in self._finder.find(text, words):
            yield from self._abbreviations(words, after, match.first)
            if match.first == match.last and words.texts[match.first] in self._short_forms:
                yield from self._abbreviations(words, match.first, match.last + 1)
            elif match.types:
                marks = {NAME: match.name} | ({} if self._trusts(match) else {DOUBTED: "yes"})
                type_ = self._finder.types[match.types[0]]
                yield Entity(words.starts[match.first], words.ends[match.last], type_, attributes=marks)
            after = match.last + 1
        yield from self._abbreviations(words, after, len(words))

    def _masked(self, words: Words, found: Sequence[Entity], least: float) -> Iterator[Entity]:
        """Words outside `found` that may belong to a mention which the KG does not know."""
        inside = {at for entity in found for at in range(entity.start, entity.end)}
        for word, start, end in zip(words.texts, words.starts, words.ends, strict=True):
            if start in inside or not any(map(str.isalpha, word)):
                continue
            if not self._evidence.is_common(word, rare=self._config.rare, least=least):
                yield Entity(start, end, UNKNOWN)

    def _abbreviations(self, words: Words, first: int, end: int) -> Iterator[Entity]:
        for at in range(first, end):
            word = words.texts[at]
            if is_short_form(word) and (type_ := self._short_forms.get(word)):
                yield Entity(words.starts[at], words.ends[at], type_, attributes={NAME: word})

    def _trusts(self, match: Match) -> bool:
        if len(match.name) < self._config.min_length or (match.contested and not self._config.contested):
            return False
        if self._evidence.mentions[match.name] <= self._config.rare:
            return True
        return self._evidence.residual_idf(match.name) >= self._config.min_residual_idf


def believed(document: Document) -> Document:
    """`document` without the candidates that the raw corpus speaks against."""
    return document.with_entities(entity for entity in document.entities if DOUBTED not in entity.attributes)
