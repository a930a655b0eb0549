"""L = w_lang · L_lang + w_dist · L_dist, as sums that the caller divides by global counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from kogner_ray.student.spans import span_mask
from kogner_ray.train.examples import UNKNOWN_TYPE, Example


@dataclass(frozen=True)
class Targets:
    """What a batch should say; spans as (width - 1, packed first word).

    Attributes:
        positive_P3: (P, 3) width - 1, first word, type index of each labelled span.
        annotated_BC: whether the corpus of text b annotates type c.
        linked_M3: (M, 3) first word, last word (packed), row of the entity table.
        unknown_W: whether nobody knows what each packed word is part of; spans with it are no negatives.
    """

    positive_P3: torch.Tensor
    annotated_BC: torch.Tensor
    linked_M3: torch.Tensor
    unknown_W: torch.Tensor

    def to(self, device: torch.device) -> Targets:
        """The same targets on `device`."""
        tensors = (self.positive_P3, self.annotated_BC, self.linked_M3, self.unknown_W)
        return Targets(*(tensor.to(device) for tensor in tensors))


def make_targets(examples: Sequence[Example], offsets: Sequence[int], *, n_types: int) -> Targets:
    """Targets of `examples`, whose words start at `offsets` in the packed batch."""
    spans = [_shifted(example.spans, at) for example, at in zip(examples, offsets, strict=False)]
    links = [_shifted(example.links, at) for example, at in zip(examples, offsets, strict=False)]
    spans_P3 = np.concatenate(spans)
    unknown_W = np.zeros(sum(len(example.window.first_tokens) for example in examples), dtype=bool)
    for first, last, _ in spans_P3[spans_P3[:, 2] == UNKNOWN_TYPE]:
        unknown_W[first : last + 1] = True
    spans_P3 = spans_P3[spans_P3[:, 2] != UNKNOWN_TYPE]
    positive_P3 = np.stack([spans_P3[:, 1] - spans_P3[:, 0], spans_P3[:, 0], spans_P3[:, 2]], axis=1)
    annotated_BC = np.zeros((len(examples), n_types), dtype=bool)
    for row, example in enumerate(examples):
        annotated_BC[row, example.annotated] = True
    return Targets(
        torch.from_numpy(positive_P3),
        torch.from_numpy(annotated_BC),
        torch.from_numpy(np.concatenate(links)),
        torch.from_numpy(unknown_W),
    )


def language_loss(logits_KWC: torch.Tensor, text_of_word_W: torch.Tensor, targets: Targets) -> torch.Tensor:
    """L_lang: binary cross-entropy summed over valid spans and annotated types.

    A labelled span counts also where its type is not annotated exhaustively, or nobody knows what overlaps it.

    Args:
        logits_KWC: as `SpanMarker.score` gives them.
        text_of_word_W: text of each packed word.
        targets: what should be there.
    """
    goal_KWC = torch.zeros_like(logits_KWC, dtype=torch.float32)
    widths, starts, types = targets.positive_P3.unbind(1)
    goal_KWC[widths, starts, types] = 1.0
    losses_KWC = functional.binary_cross_entropy_with_logits(logits_KWC.float(), goal_KWC, reduction="none")
    valid_KW = span_mask(text_of_word_W, logits_KWC.shape[0])
    certain_KW = ~_overlapping(targets.unknown_W, logits_KWC.shape[0])
    known_KWC = (targets.annotated_BC[text_of_word_W].unsqueeze(0) & certain_KW.unsqueeze(2)) | goal_KWC.bool()
    return (losses_KWC * (valid_KW.unsqueeze(2) & known_KWC)).sum()


def distillation_loss(projected_MH: torch.Tensor, entities_MH: torch.Tensor) -> torch.Tensor:
    """L_dist: mean squared error to H over its columns, summed over linked spans.

    Args:
        projected_MH: g(S_ij) of the linked spans.
        entities_MH: H_e, standardised a modality.
    """
    return (projected_MH.float() - entities_MH).pow(2).mean(dim=1).sum()


def contrastive_loss(
    projected_MH: torch.Tensor,
    rows_M: torch.Tensor,
    entities: Callable[[torch.Tensor], torch.Tensor],
    others_S: torch.Tensor,
    *,
    temperature: float,
) -> torch.Tensor:
    """L_dist as InfoNCE (van den Oord et al., 2018) on cosines, summed over linked spans.

    Each span tells its entity from those of the other spans and from `others_S`; an entity counts once.

    Args:
        projected_MH: g(S_ij) of the linked spans.
        rows_M: their rows of H.
        entities: rows -> those of H.
        others_S: rows of further entities, such as siblings of the same type.
        temperature: cosines are divided by it.
    """
    candidates_C = torch.unique(torch.cat([rows_M, others_S]))
    directions_CH = functional.normalize(entities(candidates_C), dim=1)
    logits_MC = functional.normalize(projected_MH.float(), dim=1) @ directions_CH.T / temperature
    return functional.cross_entropy(logits_MC, torch.searchsorted(candidates_C, rows_M.contiguous()), reduction="sum")


def _overlapping(words_W: torch.Tensor, max_width: int) -> torch.Tensor:
    """(K, W) whether the span of width k + 1 from each word on holds one of `words_W`."""
    reach = functional.pad(words_W, (0, max_width - 1))
    return torch.stack([reach[k : k + len(words_W)] for k in range(max_width)]).cumsum(0) > 0


def _shifted(rows: np.ndarray, offset: int) -> np.ndarray:  # type: ignore[type-arg]
    shifted = rows.astype(np.int64)
    shifted[:, :2] += offset
    return shifted
