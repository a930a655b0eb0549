"""Spans that scored above their thresholds, and which of them to keep where they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Found:
    """Spans above their thresholds, as arrays of length S.

    Attributes:
        starts: first word, a packed position.
        ends: last word.
        types: type index.
        scores: probability.
    """

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    types: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def only(self, chosen: npt.NDArray[np.bool_]) -> Found:
        """The chosen ones."""
        return Found(self.starts[chosen], self.ends[chosen], self.types[chosen], self.scores[chosen])


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """Words `start..end` (inclusive) as type index `type`, with probability `score`; `row` is the caller's mark."""

    start: int
    end: int
    type: int
    score: float
    row: int = -1


def resolve(spans: Sequence[ScoredSpan], *, nested: bool = False, multi_label: bool = False) -> list[ScoredSpan]:
    """Greedily keep the best spans that do not conflict, in text order.

    Args:
        spans: best first.
        nested: spans may lie within one another, but not cross.
        multi_label: the same words may carry several types.
    """
    kept: list[ScoredSpan] = []
    at_start: dict[int, list[ScoredSpan]] = {}
    widest = max((span.end - span.start for span in spans), default=0)
    for span in spans:
        # Only spans that start at most one maximal width before this one, or inside it, can touch it.
        near = [other for start in range(span.start - widest, span.end + 1) for other in at_start.get(start, ())]
        if not any(_conflict(span, other, nested=nested, multi_label=multi_label) for other in near):
            kept.append(span)
            at_start.setdefault(span.start, []).append(span)
    return sorted(kept, key=lambda x: (x.start, x.end, x.type))


def _conflict(a: ScoredSpan, b: ScoredSpan, *, nested: bool, multi_label: bool) -> bool:
    if (a.start, a.end) == (b.start, b.end):
        return not multi_label
    if a.end < b.start or b.end < a.start:
        return False
    inside = (a.start >= b.start and a.end <= b.end) or (b.start >= a.start and b.end <= a.end)
    return not (nested and inside)
