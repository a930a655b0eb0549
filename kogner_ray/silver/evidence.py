"""What a raw corpus says of KG names: how they are spread over it, and which abbreviations it defines for them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kogner_ray.data.abbreviations import find_definitions
from kogner_ray.data.spans import Document
from kogner_ray.data.words import split_words
from kogner_ray.silver.names import NameFinder

_PAGE_WORDS = 200


@dataclass
class Evidence:
    """Counts over a raw corpus; those of parts add up.

    Attributes:
        n_pages: pages, of some 200 words each.
        mentions: name -> occurrences.
        pages: name -> pages that it occurs on.
        words: as `mentions`, for each word of the text in lower case.
        word_pages: as `pages`, for words.
        definitions: (short form, type) -> definitions whose long form is a name of that type; type "" for the others.
    """

    n_pages: int = 0
    mentions: Counter[str] = field(default_factory=Counter)
    pages: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    word_pages: Counter[str] = field(default_factory=Counter)
    definitions: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            self.n_pages + other.n_pages,
            self.mentions + other.mentions,
            self.pages + other.pages,
            self.words + other.words,
            self.word_pages + other.word_pages,
            self.definitions + other.definitions,
        )

    def add(self, other: Evidence) -> None:
        """Take another part's counts in; as `+`, without a copy of what is there."""
        self.n_pages += other.n_pages
        for name in ("mentions", "pages", "words", "word_pages", "definitions"):
            getattr(self, name).update(getattr(other, name))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `of` takes them."""
        definitions = [[short, type_, count] for (short, type_), count in self.definitions.items()]
        counters = ("mentions", "pages", "words", "word_pages")
        counts = {name: dict(getattr(self, name)) for name in counters}
        return {"n_pages": self.n_pages, **counts, "definitions": definitions}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Evidence:
        """The evidence that `as_dict` gave `values` of."""
        definitions = Counter({(short, type_): count for short, type_, count in values["definitions"]})
        counts = {name: Counter(values[name]) for name in ("mentions", "pages", "words", "word_pages")}
        return cls(values["n_pages"], **counts, definitions=definitions)

    def residual_idf(self, name: str) -> float:
        """How much rarer the pages of `name` are than if it were strewn about, in bits (Church and Gale, 1995).

        About 0 for words that say nothing of what a page is about; 0 for a name that does not occur.
        """
        return _residual_idf(self.mentions[name], self.pages[name], self.n_pages)

    def is_common(self, word: str, *, rare: int, least: float) -> bool:
        """Whether `word` occurs more than `rare` times, with a residual IDF under `least` bits."""
        count, pages = self.words[word.lower()], self.word_pages[word.lower()]
        return count > rare and _residual_idf(count, pages, self.n_pages) < least

    def short_forms(self) -> dict[str, str]:
        """Short form -> the type that most of its definitions have, "" where most are no name of a wanted type."""
        best: dict[str, tuple[int, str]] = {}
        for (short, type_), count in sorted(self.definitions.items()):
            best[short] = max(best.get(short, (0, "")), (count, type_))
        return {short: type_ for short, (_, type_) in best.items()}


def gather(documents: Sequence[Document], finder: NameFinder) -> Evidence:
    """Evidence in consecutive documents; short ones (sentences, say) share a page."""
    evidence = Evidence()
    for page in _pages(documents):
        found: Counter[str] = Counter()
        said: Counter[str] = Counter()
        for document in page:
            words = split_words(document.text)
            said.update(word.lower() for word in words.texts)
            found.update(match.name for match in finder.find(document.text, words))
            for definition in find_definitions(words):
                # the longest name that ends where the long form does: `severe acute renal failure (ARF)`
                match = finder.ending_at(document.text, words, definition.first, definition.last)
                type_ = finder.types[match.types[0]] if match is not None and match.types else ""
                evidence.definitions[definition.short, type_] += 1
        evidence.n_pages += 1
        evidence.mentions.update(found)
        evidence.pages.update(found.keys())
        evidence.words.update(said)
        evidence.word_pages.update(said.keys())
    return evidence


def _residual_idf(count: int, pages: int, n_pages: int) -> float:
    if not pages:
        return 0.0
    return math.log2(-math.expm1(-count / n_pages)) - math.log2(pages / n_pages)


def _pages(documents: Iterable[Document]) -> Iterator[list[Document]]:
    page: list[Document] = []
    n_words = 0
    for document in documents:
        page.append(document)
        n_words += document.text.count(" ") + 1
        if n_words >= _PAGE_WORDS:
            yield page
            page, n_words = [], 0
    if page:
        yield page
