"""Gold and found spans of a document, set against each other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from kogner_ray.data.metrics import Span
from kogner_ray.data.spans import Document


class Found(Protocol):
    """A span with a type, such as an entity or a tagged one."""

    @property
    def start(self) -> int:
        """First character."""

    @property
    def end(self) -> int:
        """One past the last character."""

    @property
    def type(self) -> str:
        """Its type."""


@dataclass(frozen=True)
class Compared:
    """What is set against what in one document.

    Attributes:
        gold: annotated spans of the types asked for.
        predicted: found spans.
        n_ignored: annotated mentions of other types.
    """

    gold: set[Span]
    predicted: set[Span]
    n_ignored: int


def compare(document: Document, found: Sequence[Found], types: Collection[str]) -> Compared:
    """Gold and predicted spans of `document`; types that it does not annotate exhaustively are left out of both."""
    annotated = types if document.annotated_types is None else set(types) & set(document.annotated_types)
    gold = {(e.start, e.end, e.type) for e in document.entities if e.type in annotated}
    predicted = {(e.start, e.end, e.type) for e in found if e.type in annotated}
    return Compared(gold, predicted, sum(e.type not in annotated for e in document.entities))
