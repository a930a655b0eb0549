"""How well mentions are linked: gold ones, and those that are found. Imports neither ray, dgl nor torchkge.

A link is right when the entity's concept (its `cluster`) is one that the gold mention's ids name; a composite mention
has several, of which one is enough. Where the KG lacks the concept of a mention, any link is wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from kogner_ray.data.metrics import Counts
from kogner_ray.data.spans import Document
from kogner_ray.kg.ranking.corpus import read_gold, typed
from kogner_ray.student.disambiguation import Link
from kogner_ray.tagger import TaggedEntity, Tagger

ALL = "all"
_BINS = 10
_MOST = 5


@dataclass
class LinkCounts:
    """Gold mentions of one type, or of all.

    Attributes:
        mentions: all of them.
        in_kg: those whose concept is in the KG.
        first: of these, those whose best candidate is right, linked or not.
        in_five: those with a right one among the best five.
        linked: mentions whose best candidate reaches the threshold.
        right: those of them that are right.
    """

    mentions: int = 0
    in_kg: int = 0
    first: int = 0
    in_five: int = 0
    linked: int = 0
    right: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares in [0, 1]."""
        return {
            "mentions": self.mentions,
            "in_kg": self.in_kg,
            "accuracy@1": _share(self.first, self.in_kg),
            "accuracy@5": _share(self.in_five, self.in_kg),
            "abstained": _share(self.mentions - self.linked, self.mentions),
            "precision_of_links": _share(self.right, self.linked),
        }


@dataclass(frozen=True)
class LinkReport:
    """Scores of linking; types by name, and `ALL`.

    Attributes:
        gold: counts on gold mentions.
        found: mentions found with the right characters, type and concept, against links that were given and gold
            mentions whose concept the KG has.
        reliability: as `reliability` gives it.
    """

    gold: Mapping[str, LinkCounts]
    found: Mapping[str, Counts]
    reliability: Sequence[tuple[int, float, float]]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: |probability - share of right ones|, averaged over mentions."""
        total = sum(n for n, _, _ in self.reliability)
        return sum(n * abs(said - was) for n, said, was in self.reliability) / max(1, total)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares in [0, 1]."""
        return {
            "gold_mentions": {name: counts.as_dict() for name, counts in sorted(self.gold.items())},
            "found_and_linked": {
                name: {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}
                for name, counts in sorted(self.found.items())
            },
            "calibration_error": self.calibration_error,
            "reliability": [dict(zip(("mentions", "said", "right"), row, strict=True)) for row in self.reliability],
        }

    def as_table(self) -> Table:
        """A table for the terminal, percent."""
        table = Table(title="linking: gold mentions, then mentions found with the right concept")
        for heading in ("type", "mentions", "in KG", "acc@1", "acc@5", "unlinked", "P of links", "P", "R", "F1"):
            table.add_column(heading, justify="left" if heading == "type" else "right")
        for name in sorted(self.gold, key=lambda name: (name == ALL, name)):
            counts, found = self.gold[name].as_dict(), self.found.get(name, Counts())
            shares = [counts[share] for share in ("accuracy@1", "accuracy@5", "abstained", "precision_of_links")]
            values = (f"{100 * value:.1f}" for value in (*shares, found.precision, found.recall, found.f1))
            table.add_row(name, str(counts["mentions"]), str(counts["in_kg"]), *values)
        return table


def score_links(
    tagger: Tagger, documents: Sequence[Document], found: Sequence[Sequence[TaggedEntity]], types: Iterable[str]
) -> LinkReport | None:
    """Scores of `tagger` on documents with concept ids; None where it has no KG, or the KG none of the ids.

    Args:
        tagger: the model.
        documents: annotated text.
        found: what it found in each document, linked.
        types: those that were asked for; mentions of others are left out.
    """
    wanted = set(types)
    asked = [d.with_entities(e for e in typed(d) if e.type in wanted) for d in documents]
    if not any(entity.concepts for document in asked for entity in document.entities) or tagger.links is None:
        return None
    gold = read_gold(asked, tagger.links.index)
    if not gold.n_known:
        return None
    answers = iter(gold.concepts)
    concepts = [[next(answers) for _ in document.entities] for document in asked]
    scores = _Scores(tagger)
    for document, own, ranked in zip(asked, concepts, tagger.candidates(asked, most=_MOST), strict=True):
        for entity, right, candidates in zip(document.entities, own, ranked, strict=True):
            scores.add_gold(entity.type, right, candidates)
    for document, own, entities in zip(asked, concepts, found, strict=True):
        known = {(e.start, e.end, e.type): right for e, right in zip(document.entities, own, strict=True)}
        annotated = wanted if document.annotated_types is None else wanted & set(document.annotated_types)
        scores.add_found(known, [entity for entity in entities if entity.type in annotated])
    return scores.report()


class _Scores:
    """Counts as they come in."""

    def __init__(self, tagger: Tagger) -> None:
        assert tagger.links is not None
        self._index, self._threshold = tagger.links.index, tagger.link_threshold
        self._gold: dict[str, LinkCounts] = defaultdict(LinkCounts)
        self._found: dict[str, Counts] = defaultdict(Counts)
        self._said: list[tuple[float, bool]] = []

    def add_gold(self, type: str, right: frozenset[int], candidates: Sequence[Link]) -> None:
        """A gold mention, the concepts that it denotes, and its candidates, best first."""
        hits = [self._concept(link.id) in right for link in candidates]
        linked = bool(candidates) and candidates[0].score >= self._threshold
        if candidates:
            self._said.append((candidates[0].score, hits[0]))
        for name in (type, ALL):
            counts = self._gold[name]
            counts.mentions += 1
            counts.in_kg += bool(right)
            counts.first += any(hits[:1])
            counts.in_five += any(hits)
            counts.linked += linked
            counts.right += linked and hits[0]

    def add_found(self, known: Mapping[tuple[int, int, str], frozenset[int]], found: Sequence[TaggedEntity]) -> None:
        """The gold mentions of a document with their concepts, and what was found there."""
        for (_, _, type), right in known.items():
            self._count(type, Counts(n_gold=int(bool(right))))
        for entity in found:
            if entity.kg_id is not None:
                right = known.get((entity.start, entity.end, entity.type), frozenset())
                hit = self._concept(entity.kg_id) in right
                self._count(entity.type, Counts(n_correct=int(hit), n_predicted=1))

    def report(self) -> LinkReport:
        """All that was counted."""
        return LinkReport(dict(self._gold), dict(self._found), reliability(self._said))

    def _count(self, type: str, more: Counts) -> None:
        for name in (type, ALL):
            self._found[name] += more

    def _concept(self, id: str) -> int:
        row = self._index.row_of(id)
        return -1 if row is None else int(self._index.concepts[row])


def reliability(said: Sequence[tuple[float, bool]]) -> tuple[tuple[int, float, float], ...]:
    """Mentions, mean probability and share of right ones in each tenth of probability that holds any."""
    scores, right = np.array([s for s, _ in said], dtype=float), np.array([hit for _, hit in said], dtype=float)
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    rows = [(bins == place) for place in range(_BINS)]
    return tuple((int(own.sum()), float(scores[own].mean()), float(right[own].mean())) for own in rows if own.any())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
