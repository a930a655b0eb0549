"""Several questions in one reading: the union of their types, and of what was found each one's own share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kogner_ray.student.decode import ScoredSpan


@dataclass(frozen=True)
class Asked:
    """Types of one question.

    Attributes:
        names: of the types.
        label_texts: of the types.
        thresholds: a probability a type.
    """

    names: Sequence[str]
    label_texts: Sequence[str]
    thresholds: Sequence[float]


class Union:
    """The types of several questions, each label text once, at the lowest of its thresholds."""

    def __init__(self, questions: Sequence[Asked]) -> None:
        lowest: dict[str, float] = {}
        for asked in questions:
            for text, threshold in zip(asked.label_texts, asked.thresholds, strict=True):
                lowest[text] = min(threshold, lowest.get(text, 1.0))
        self.label_texts, self.thresholds = list(lowest), list(lowest.values())
        places = {text: place for place, text in enumerate(lowest)}
        self._types_of: list[dict[int, list[tuple[int, float]]]] = []
        for asked in questions:
            types_of: dict[int, list[tuple[int, float]]] = {}
            for type_, (text, threshold) in enumerate(zip(asked.label_texts, asked.thresholds, strict=True)):
                # what is as low as the lowest was met already where spans were found, on logits
                beyond = threshold if threshold > lowest[text] else -1.0
                types_of.setdefault(places[text], []).append((type_, beyond))
            self._types_of.append(types_of)

    def share(self, question: int, spans: Sequence[ScoredSpan]) -> list[ScoredSpan]:
        """The spans that answer question number `question`, with its own type indices."""
        types_of = self._types_of[question]
        return [
            replace(span, type=type_)
            for span in spans
            for type_, beyond in types_of.get(span.type, ())
            if span.score > beyond
        ]
