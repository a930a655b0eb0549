"""What tags: a student ready for inference, whatever computes it.

Dimensions: W words, F inner, C types, D hidden, K widths, S spans.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

import torch

from kogner_ray.student.batch import Batch
from kogner_ray.student.decode import Found
from kogner_ray.student.model import StudentConfig
from kogner_ray.student.spans import SpanHalves, span_mask

Scorer: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Logits (K, W, C) in fp32 of all spans of a batch against prototypes (C, D); see `SpanMarker.score`."""

_TYPES_A_BLOCK = 512


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

    def prototypes(self, label_texts: Sequence[str]) -> torch.Tensor:
        """Type prototypes n_c of label texts, (C, D) in fp32; each is computed once.

        Raises:
            ConfigError: a label text longer than the label encoder can read.
        """
        ...

    def halves(self, batch: Batch) -> SpanHalves:
        """What each word adds to the spans it starts and to those it ends, see `SpanMarker.halves`."""
        ...

    def find(self, halves: SpanHalves, batch: Batch, prototypes_CD: torch.Tensor, thresholds: Sequence[float]) -> Found:
        """Spans within one text whose probability is above their type's threshold."""
        ...

    def represent(self, halves: SpanHalves, found: Found) -> torch.Tensor:
        """S_ij of found spans, (S, D) in fp32."""
        ...


def above_thresholds(
    score: Scorer, batch: Batch, prototypes_CD: torch.Tensor, thresholds: Sequence[float], *, max_width: int
) -> Found:
    """Spans within one text whose probability is above their type's threshold; the rest never leaves the device."""
    limits_C = torch.tensor([_logit(p) for p in thresholds], device=prototypes_CD.device)
    mask_KW = span_mask(batch.text_of_word_W, max_width)
    parts = list(_hits(score, mask_KW, prototypes_CD, limits_C))
    widths, starts, types, logits = (torch.cat(columns).cpu() for columns in zip(*parts, strict=True))
    ends = (starts + widths).numpy()
    return Found(starts.numpy(), ends, types.numpy(), logits.sigmoid().numpy())


def _hits(
    score: Scorer, mask_KW: torch.Tensor, prototypes_CD: torch.Tensor, limits_C: torch.Tensor
) -> Iterator[tuple[torch.Tensor, ...]]:
    # In blocks of types, so that thousands of them do not need a (K, W, C) block of gigabytes.
    for first in range(0, len(limits_C), _TYPES_A_BLOCK):
        block = slice(first, first + _TYPES_A_BLOCK)
        logits_KWC = score(prototypes_CD[block])
        above_KWC = (logits_KWC > limits_C[block]) & mask_KW.unsqueeze(2)
        widths, starts, types = above_KWC.nonzero(as_tuple=True)
        yield widths, starts, types + first, logits_KWC[widths, starts, types]


def _logit(probability: float) -> float:
    if probability in (0, 1):
        return math.inf if probability else -math.inf
    return math.log(probability / (1 - probability))
