"""From span logits to spans: threshold first, then resolve overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kogner_ray.student.spans import span_mask


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """Words `start..end` (inclusive, packed positions) as type index `type`, with probability `score`."""

    start: int
    end: int
    type: int
    score: float


def above_threshold(
    logits_KWC: torch.Tensor, text_of_word_W: torch.Tensor, thresholds: float | Sequence[float]
) -> list[ScoredSpan]:
    """Spans within one text whose probability is above their type's threshold, best first.

    Args:
        logits_KWC: as `SpanMarker.score` gives them.
        text_of_word_W: text of each packed word.
        thresholds: one probability for all types, or one a type.
    """
    probabilities_KWC = logits_KWC.float().sigmoid()
    limits_C = torch.as_tensor(thresholds, device=logits_KWC.device).expand(logits_KWC.shape[2])
    mask_KW = span_mask(text_of_word_W, logits_KWC.shape[0])
    widths, starts, types = ((probabilities_KWC > limits_C) & mask_KW.unsqueeze(2)).nonzero(as_tuple=True)
    scores = probabilities_KWC[widths, starts, types]
    rows = zip(starts.tolist(), widths.tolist(), types.tolist(), scores.tolist(), strict=True)
    return sorted((ScoredSpan(s, s + k, c, p) for s, k, c, p in rows), key=lambda x: (-x.score, x.start, x.end, x.type))


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
