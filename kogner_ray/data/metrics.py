"""Strict span metrics: a prediction counts when start, end and type are all right; nested spans count one by one.

Spans are compared as sets within a document, so offsets may be characters or words, as long as both sides use the same.
Undefined ratios (nothing predicted, nothing gold) are 0, as in seqeval, with which flat output agrees exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kogner_ray.errors import UnsupportedAnnotation

Span = tuple[int, int, str]
"""`(start, end, type)`, end exclusive."""

_INTERVAL = (2.5, 97.5)
_BLOCK = 10_000_000


@dataclass(frozen=True, slots=True)
class Counts:
    """What a score is made of; `+` adds documents or types up.

    Attributes:
        n_correct: spans that are both gold and predicted.
        n_predicted: predicted spans.
        n_gold: gold spans.
    """

    n_correct: int = 0
    n_predicted: int = 0
    n_gold: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.n_correct + other.n_correct, self.n_predicted + other.n_predicted, self.n_gold + other.n_gold
        )

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are gold, 0..1."""
        return self.n_correct / self.n_predicted if self.n_predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold spans that were predicted, 0..1."""
        return self.n_correct / self.n_gold if self.n_gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1."""
        found = self.n_predicted + self.n_gold
        return 2 * self.n_correct / found if found else 0.0

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON; shares in [0, 1]."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "gold": self.n_gold,
            "predicted": self.n_predicted,
            "correct": self.n_correct,
        }


@dataclass(frozen=True, slots=True)
class SpanReport:
    """Scores of one system on one corpus.

    Attributes:
        per_type: counts of each type, sorted by name.
        micro: counts over all types together.
        macro_f1: mean F1 over the types that occur in gold or prediction, 0 when none does.
        micro_interval: 95 % percentile bootstrap interval of the micro F1 over documents, when asked for.
    """

    per_type: dict[str, Counts]
    micro: Counts
    macro_f1: float
    micro_interval: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares in [0, 1]."""
        return {
            "micro": self.micro.as_dict(),
            "micro_f1_interval": self.micro_interval,
            "macro_f1": self.macro_f1,
            "types": {name: counts.as_dict() for name, counts in sorted(self.per_type.items())},
        }


def count_spans(gold: Iterable[Span], predicted: Iterable[Span]) -> dict[str, Counts]:
    """Counts of each type in one document; a span given twice counts once."""
    gold_set, predicted_set = set(gold), set(predicted)
    counts: dict[str, Counts] = {}
    for span in gold_set | predicted_set:
        is_gold, is_predicted = span in gold_set, span in predicted_set
        counts[span[2]] = counts.get(span[2], Counts()) + Counts(is_gold and is_predicted, is_predicted, is_gold)
    return counts


def score(
    gold: Sequence[Collection[Span]],
    predicted: Sequence[Collection[Span]],
    *,
    types: Iterable[str] | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> SpanReport:
    """Score aligned documents.

    Args:
        gold: gold spans of each document.
        predicted: predicted spans of the same documents.
        types: count these types only (each is listed, even without a span); all that occur when None.
        bootstrap: resamples for `micro_interval`; 0 for none.
        seed: of the resampling; the same seed gives two systems the same resamples.

    Raises:
        ValueError: `gold` and `predicted` differ in length.
    """
    wanted = None if types is None else frozenset(types)
    documents = [_only(counts, wanted) for counts in _aligned(gold, predicted)]
    totals = dict.fromkeys(wanted or (), Counts())
    for counts in documents:
        for kind, found in counts.items():
            totals[kind] = totals.get(kind, Counts()) + found
    occurring = [found.f1 for found in totals.values() if found.n_gold or found.n_predicted]
    return SpanReport(
        per_type=dict(sorted(totals.items())),
        micro=sum(totals.values(), Counts()),
        macro_f1=sum(occurring) / len(occurring) if occurring else 0.0,
        micro_interval=_interval(resampled_f1(_as_array(documents), bootstrap, seed=seed)) if bootstrap else None,
    )


def document_counts(gold: Sequence[Collection[Span]], predicted: Sequence[Collection[Span]]) -> npt.NDArray[np.int64]:
    """Counts of each document over all types: `(n_documents, 3)`, columns correct, predicted, gold."""
    return _as_array(_aligned(gold, predicted))


def resampled_f1(counts: npt.NDArray[np.int64], n_resamples: int, *, seed: int = 0) -> npt.NDArray[np.float64]:
    """Micro F1 of corpora drawn from `counts` with replacement.

    Resample i holds the same documents for every system that is scored on the same number of documents with the same
    seed, so the difference of two results is a paired bootstrap.

    Args:
        counts: `(n_documents, 3)` from `document_counts`.
        n_resamples: corpora to draw.
        seed: of the draw.

    Returns:
        `(n_resamples,)` F1, 0..1.
    """
    n_documents = len(counts)
    if not n_documents:
        return np.zeros(n_resamples)
    draw = np.random.default_rng(seed)
    even = np.full(n_documents, 1 / n_documents)
    block = max(1, _BLOCK // n_documents)  # bounds the (block, n_documents) weights at 80 MB
    sizes = [min(block, n_resamples - done) for done in range(0, n_resamples, block)]
    sums = np.concatenate([draw.multinomial(n_documents, even, size=size) @ counts for size in sizes])
    found = sums[:, 1] + sums[:, 2]
    f1 = np.zeros(n_resamples)
    np.divide(2 * sums[:, 0], found, out=f1, where=found > 0)
    return f1


def conll_report(gold: Sequence[Collection[Span]], predicted: Sequence[Collection[Span]], *, digits: int = 4) -> str:
    """The seqeval classification report for flat spans.

    The IOB2 tokens are the stretches between neighbouring span boundaries, so no span is lost to a word split.

    Raises:
        UnsupportedAnnotation: two spans of one document overlap, which IOB2 cannot hold.
        ValueError: `gold` and `predicted` differ in length.
    """
    from seqeval.metrics import classification_report  # slow to import: scikit-learn

    tags = [_as_iob2(index, *pair) for index, pair in enumerate(zip(gold, predicted, strict=True))]
    tags.append((["O"], ["O"]))  # seqeval fails on a corpus without a token
    if not any(map(len, gold)) and not any(map(len, predicted)):
        return "no spans: neither gold nor predicted"
    report = classification_report([t for t, _ in tags], [p for _, p in tags], digits=digits, zero_division=0)
    return str(report)


def _aligned(gold: Sequence[Collection[Span]], predicted: Sequence[Collection[Span]]) -> list[dict[str, Counts]]:
    if len(gold) != len(predicted):
        raise ValueError(f"expected as many predicted as gold documents ({len(gold)}), got {len(predicted)}")
    return [count_spans(*pair) for pair in zip(gold, predicted, strict=True)]


def _only(counts: dict[str, Counts], wanted: frozenset[str] | None) -> dict[str, Counts]:
    return counts if wanted is None else {kind: found for kind, found in counts.items() if kind in wanted}


def _as_array(documents: Sequence[Mapping[str, Counts]]) -> npt.NDArray[np.int64]:
    sums = [sum(counts.values(), Counts()) for counts in documents]
    rows = [(total.n_correct, total.n_predicted, total.n_gold) for total in sums]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _interval(f1: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(f1, _INTERVAL)
    return float(low), float(high)


def _as_iob2(index: int, gold: Collection[Span], predicted: Collection[Span]) -> tuple[list[str], list[str]]:
    cuts = sorted({offset for start, end, _ in (*gold, *predicted) for offset in (start, end)})
    place = {offset: i for i, offset in enumerate(cuts)}
    return _tag(index, gold, place), _tag(index, predicted, place)


def _tag(index: int, spans: Collection[Span], place: Mapping[int, int]) -> list[str]:
    tags = ["O"] * max(1, len(place) - 1)
    last_end = -1
    for start, end, kind in sorted(set(spans)):
        if start < last_end:
            raise UnsupportedAnnotation(
                f"document {index}: {kind} [{start}, {end}) overlaps another; a CoNLL report expects flat spans"
            )
        last_end = end
        inside = place[end] - place[start]
        tags[place[start] : place[end]] = [f"B-{kind}"] + [f"I-{kind}"] * (inside - 1)
    return tags
