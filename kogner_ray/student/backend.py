"""What tags: a student ready for inference, whatever computes it.

Dimensions: W words, F inner, C types, D hidden, K widths, S spans.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import torch

from kogner_ray.student.batch import Batch
from kogner_ray.student.decode import Found
from kogner_ray.student.model import StudentConfig
from kogner_ray.student.spans import SpanHalves, span_mask

Scorer: TypeAlias = Callable[[SpanHalves], torch.Tensor]
"""Some types: logits (K, R, C) in fp32 of all spans of a batch, R at least its words W; see `SpanMarker.score`."""

TYPES_A_BLOCK = 512
"""Types scored at once, so that thousands of them do not need a (K, W, C) tensor of gigabytes."""


class Backend(Protocol):
    """A student ready for tagging."""

    @property
    def config(self) -> StudentConfig:
        """Its architecture."""
        ...

    @property
    def device(self) -> torch.device:
        """Where batches must be."""
        ...

    @property
    def side_by_side(self) -> bool:
        """Whether several threads may run batches at once, and gain by it."""
        ...

    @property
    def tokens_a_batch(self) -> int:
        """Subtokens that are fastest together: few enough for the caches of a CPU, many enough for a GPU."""
        ...

    def fold(self, label_texts: Sequence[str]) -> list[Scorer]:
        """The types of label texts ready to be scored, in blocks; each one's prototype is computed once and kept.

        Raises:
            ConfigError: a label text longer than the label encoder can read.
        """
        ...

    def halves(self, batch: Batch) -> SpanHalves:
        """What each word adds to the spans it starts and to those it ends, see `SpanMarker.halves`."""
        ...

    def find(self, halves: SpanHalves, batch: Batch, types: Sequence[Scorer], thresholds: Sequence[float]) -> Found:
        """Spans within one text whose probability is above their type's threshold."""
        ...

    def represent(self, halves: SpanHalves, found: Found) -> torch.Tensor:
        """S_ij of found spans, (S, D) in fp32."""
        ...


def above_thresholds(
    halves: SpanHalves, batch: Batch, types: Sequence[Scorer], thresholds: Sequence[float], *, max_width: int
) -> Found:
    """Spans within one text whose probability is above their type's threshold; the rest never leaves the device."""
    limits_C = torch.tensor([_logit(p) for p in thresholds], device=batch.text_of_word_W.device)
    mask_KW1 = span_mask(batch.text_of_word_W, max_width).unsqueeze(2)
    parts, first = [], 0
    for score in types:
        logits_KWC = score(halves)[:, : len(batch.text_of_word_W)]
        last = first + logits_KWC.shape[2]
        widths, starts, kinds = ((logits_KWC > limits_C[first:last]) & mask_KW1).nonzero(as_tuple=True)
        parts.append((widths, starts, kinds + first, logits_KWC[widths, starts, kinds]))
        first = last
    widths, starts, kinds, logits = (torch.cat(columns).cpu() for columns in zip(*parts, strict=True))
    return Found(starts.numpy(), (starts + widths).numpy(), kinds.numpy(), logits.sigmoid().numpy())


def _logit(probability: float) -> float:
    if probability in (0, 1):
        return math.inf if probability else -math.inf
    return math.log(probability / (1 - probability))
