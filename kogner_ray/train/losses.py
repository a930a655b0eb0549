"""L = w_lang · L_lang + w_dist · L_dist, as sums that the caller divides by global counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from kogner_ray.student.spans import span_mask
from kogner_ray.train.examples import UNKNOWN_TYPE, Example


@dataclass(frozen=True)
class Targets:
    """What a batch should say; spans as (width - 1, packed first word).

    Attributes:
        positive_P3: (P, 3) width - 1, first word, type index of each labelled span.
        weight_P: how much each of them counts.
        annotated_BC: whether the corpus of text b annotates type c.
        linked_M3: (M, 3) first word, last word (packed), row of the entity table.
        certainty_W: how much spans with that packed word count as negatives: 0 where nobody knows what it is part of.
    """

    positive_P3: torch.Tensor
    weight_P: torch.Tensor
    annotated_BC: torch.Tensor
    linked_M3: torch.Tensor
    certainty_W: torch.Tensor

    def to(self, device: torch.device) -> Targets:
        """The same targets on `device`."""
        return Targets(*(getattr(self, field.name).to(device) for field in fields(self)))

    def of_types(self, kept_C: torch.Tensor) -> Targets:
        """The same targets, those of the other types unknown."""
        kept_P = kept_C[self.positive_P3[:, 2]]
        positive_P3, weight_P = self.positive_P3[kept_P], self.weight_P[kept_P]
        return replace(self, positive_P3=positive_P3, weight_P=weight_P, annotated_BC=self.annotated_BC & kept_C)


def make_targets(examples: Sequence[Example], offsets: Sequence[int], *, n_types: int) -> Targets:
    """Targets of `examples`, whose words start at `offsets` in the packed batch."""
    spans = [_shifted(example.spans, at) for example, at in zip(examples, offsets, strict=False)]
    links = [_shifted(example.links, at) for example, at in zip(examples, offsets, strict=False)]
    spans_P3, weight_P = np.concatenate(spans), np.concatenate([_weights(example) for example in examples])
    certainty_W = np.ones(sum(len(example.window.first_tokens) for example in examples), dtype=np.float32)
    for (first, last, _), weight in zip(spans_P3[weight_P < 1], weight_P[weight_P < 1], strict=True):
        certainty_W[first : last + 1] = np.minimum(certainty_W[first : last + 1], weight)
    known_P = spans_P3[:, 2] != UNKNOWN_TYPE
    spans_P3, weight_P = spans_P3[known_P], weight_P[known_P]
    positive_P3 = np.stack([spans_P3[:, 1] - spans_P3[:, 0], spans_P3[:, 0], spans_P3[:, 2]], axis=1)
    annotated_BC = np.zeros((len(examples), n_types), dtype=bool)
    for row, example in enumerate(examples):
        annotated_BC[row, example.annotated] = True
    arrays = (positive_P3, weight_P, annotated_BC, np.concatenate(links), certainty_W)
    return Targets(*(torch.from_numpy(array) for array in arrays))


def language_loss(logits_KWC: torch.Tensor, text_of_word_W: torch.Tensor, targets: Targets) -> torch.Tensor:
    """L_lang: binary cross-entropy summed over valid spans and annotated types.

    A labelled span counts by its weight, also where its type is not annotated exhaustively, or nobody knows what
    overlaps it; what overlaps a span that is not certain counts as a negative by the weight of that span.

    Args:
        logits_KWC: as `SpanMarker.score` gives them.
        text_of_word_W: text of each packed word.
        targets: what should be there.
    """
    goal_KWC = torch.zeros_like(logits_KWC, dtype=torch.float32)
    widths, starts, types = targets.positive_P3.unbind(1)
    goal_KWC[widths, starts, types] = 1.0
    losses_KWC = functional.binary_cross_entropy_with_logits(logits_KWC.float(), goal_KWC, reduction="none")
    counted_KW = span_mask(text_of_word_W, len(logits_KWC)) * _least_within(targets.certainty_W, len(logits_KWC))
    weight_KWC = counted_KW.unsqueeze(2) * targets.annotated_BC[text_of_word_W]
    weight_KWC[widths, starts, types] = targets.weight_P
    return (losses_KWC * weight_KWC).sum()


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


def _least_within(values_W: torch.Tensor, max_width: int) -> torch.Tensor:
    """(K, W) least of `values_W` within the span of width k + 1 from each word on."""
    reach = functional.pad(values_W, (0, max_width - 1), value=1.0)
    return torch.stack([reach[k : k + len(values_W)] for k in range(max_width)]).cummin(0).values


def _weights(example: Example) -> npt.NDArray[np.float32]:
    """Of the spans of `example`; 0 of those of which nobody knows what they are."""
    weights = example.weights if len(example.weights) else np.ones(len(example.spans), dtype=np.float32)
    return np.where(example.spans[:, 2] == UNKNOWN_TYPE, np.float32(0), weights)


def _shifted(rows: np.ndarray, offset: int) -> np.ndarray:  # type: ignore[type-arg]
    shifted = rows.astype(np.int64)
    shifted[:, :2] += offset
    return shifted
