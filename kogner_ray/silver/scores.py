"""Names judged by students that never saw them marked: cross-fitting.

The names are dealt into folds. A student is trained on the names of the other folds, with those of its own as stretches
of which nobody knows what they are; the mean probability that it then gives to the occurrences of one says whether that
name stands where mentions of its type stand, and is written as they are written. (Folds of texts would not do: a common
word that the KG lists as a drug is marked in every fold.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from zlib import crc32

from kogner_ray.data.spans import UNKNOWN, WEIGHT, Document, Entity
from kogner_ray.silver.annotate import DOUBTED, NAME


class Scored(Protocol):
    """A span with a probability, such as a tagged entity."""

    start: int
    end: int
    type: str
    score: float


def fold_of(name: str, folds: int) -> int:
    """The fold that a name belongs to, the same wherever it is asked for."""
    return crc32(name.encode("utf-8", "surrogatepass")) % folds


def held_out(document: Document, fold: int, folds: int) -> Document:
    """`document` for the student that judges `fold`: candidates of that fold, and doubted ones, are `UNKNOWN`."""
    return document.with_entities(_held_out(document.entities, fold, folds))


def _held_out(entities: Sequence[Entity], fold: int, folds: int) -> Iterator[Entity]:
    for entity in entities:
        hidden = entity.type == UNKNOWN or DOUBTED in entity.attributes or _fold(entity, folds) == fold
        yield Entity(entity.start, entity.end, UNKNOWN if hidden else entity.type)


def candidates_of(document: Document, fold: int, folds: int) -> Document:
    """`document` with the candidates of `fold` alone."""
    return document.with_entities(e for e in document.entities if e.type != UNKNOWN and _fold(e, folds) == fold)


def _fold(entity: Entity, folds: int) -> int:
    return fold_of(entity.attributes[NAME], folds)


@dataclass
class NameScores:
    """Sums of probabilities by type and name; those of parts add up.

    Attributes:
        sums: (type, name) -> sum of the probabilities of its occurrences.
        counts: (type, name) -> its occurrences.
    """

    sums: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, document: Document, found: Iterable[Scored]) -> None:
        """Count the candidates of `document` with what a student found in its text; not found is 0."""
        scores = {(span.start, span.end, span.type): span.score for span in found}
        for entity in document.entities:
            if entity.type == UNKNOWN:
                continue
            key = (entity.type, entity.attributes[NAME])
            self.sums[key] += scores.get((entity.start, entity.end, entity.type), 0.0)
            self.counts[key] += 1

    def rows(self) -> list[dict[str, str | float | int]]:
        """One row a name: type, name, sum, count."""
        return [
            {"type": type_, "name": name, "sum": self.sums[type_, name], "count": count}
            for (type_, name), count in self.counts.items()
        ]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, str | float | int]]) -> NameScores:
        """The scores that `rows` add up to."""
        scores = cls()
        for row in rows:
            key = (str(row["type"]), str(row["name"]))
            scores.sums[key] += float(row["sum"])
            scores.counts[key] += int(row["count"])
        return scores

    def mean(self, entity: Entity) -> float:
        """Mean probability of the name of a candidate; 1 of one that was never scored."""
        key = (entity.type, entity.attributes[NAME])
        return self.sums[key] / self.counts[key] if key in self.counts else 1.0


def judged(document: Document, scores: NameScores, *, least: float, sure: float) -> Document:
    """`document` with the candidates that students believe, too.

    Args:
        document: with candidates as entities.
        scores: of their names.
        least: a name with a lower mean is no mention.
        sure: a doubted name with at least this mean is one; with less, it is `UNKNOWN`.
    """
    return document.with_entities(_judged(document.entities, scores, least, sure))


def _judged(entities: Sequence[Entity], scores: NameScores, least: float, sure: float) -> Iterator[Entity]:
    for entity in entities:
        if entity.type == UNKNOWN:
            yield entity
            continue
        mean = scores.mean(entity)
        if mean >= least:
            unsure = DOUBTED in entity.attributes and mean < sure
            yield Entity(entity.start, entity.end, UNKNOWN if unsure else entity.type)


def self_labelled(
    document: Document,
    found: Iterable[Scored],
    *,
    doubt: float,
    least: float,
    sure: float,
    weighted: bool = False,
) -> Document:
    """`document` with its names and what a student found in it, none overlapping another.

    Mentions are what it found from `sure` on, the most probable first; then the names of `document`, but for those that
    it gives less than `doubt`; what else it found from `least` on is `UNKNOWN`, or, `weighted`, a mention, too.

    Args:
        document: with the judged names as entities; the rest of what may overlap is left out.
        found: spans with probabilities of at least `doubt` and `least`; they may overlap.
        doubt: a probability.
        least: a probability.
        sure: a probability.
        weighted: mentions that are no names weigh what the student gives them (`WEIGHT`).
    """
    spans = sorted(found, key=lambda span: (-span.score, span.start, span.end))
    scores = {(span.start, span.end, span.type): span.score for span in spans}
    names = [e for e in document.entities if scores.get((e.start, e.end, e.type), 0.0) >= doubt or e.type == UNKNOWN]
    label = _weighing(names) if weighted else _mention(sure)
    wanted = [label(span) for span in spans if span.score >= sure] + names
    wanted += [label(span) for span in spans if least <= span.score < sure]
    taken: list[Entity] = []
    for entity in wanted:
        if all(entity.end <= other.start or other.end <= entity.start for other in taken):
            taken.append(entity)
    return document.with_entities(sorted(taken, key=lambda entity: entity.start))


def _mention(sure: float) -> Callable[[Scored], Entity]:
    return lambda span: Entity(span.start, span.end, span.type if span.score >= sure else UNKNOWN)


def _weighing(names: Sequence[Entity]) -> Callable[[Scored], Entity]:
    certain = {(name.start, name.end, name.type) for name in names}

    def weighed(span: Scored) -> Entity:
        known = (span.start, span.end, span.type) in certain
        return Entity(span.start, span.end, span.type, attributes={} if known else {WEIGHT: f"{span.score:.4f}"})

    return weighed
