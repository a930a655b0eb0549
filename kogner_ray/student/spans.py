"""Span representation and scoring over packed words.

GLiNER's `markerV0` span head: S_ij = W_o [relu(f_s(h_i)); relu(f_e(h_j))], W_o two linear layers. The first of them is
linear over a concatenation, so it is applied once a *word* and added a span; the second is linear and so is the dot
with the type prototypes, so it is folded into them. A span then costs 4D·C multiplications instead of 4D·D, exactly.

Dimensions: W words of all texts of a batch, one after the other; D hidden; F = 4D inner; C types; K widths; S spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from kogner_ray.student.dropout import Dropout, keep_mask


class Projection(nn.Sequential):
    """Two linear layers with an inner width of 4·`n_out`; submodules 0 and 3 hold the weights (GLiNER's naming)."""

    def __init__(self, n_in: int, n_out: int, dropout: float) -> None:
        super().__init__(nn.Linear(n_in, 4 * n_out), nn.ReLU(), Dropout(dropout), nn.Linear(4 * n_out, n_out))

    @property
    def inner(self) -> nn.Linear:
        """The layer into the inner width."""
        return cast(nn.Linear, self[0])

    @property
    def dropout(self) -> Dropout:
        """Between the two layers."""
        return cast(Dropout, self[2])

    @property
    def outer(self) -> nn.Linear:
        """The layer out of it."""
        return cast(nn.Linear, self[3])


@dataclass(frozen=True)
class SpanHalves:
    """What each word adds to the inner layer of the spans it starts, and of those it ends; both (W, F)."""

    starts_WF: torch.Tensor
    ends_WF: torch.Tensor


class SpanMarker(nn.Module):
    """Span head whose parameters have the names and shapes of GLiNER's `SpanMarkerV0`."""

    def __init__(self, *, width: int, max_width: int, dropout: float) -> None:
        """`width`: D; `max_width`: K, the longest span in words."""
        super().__init__()
        self.max_width = max_width
        self.project_start = Projection(width, width, dropout)
        self.project_end = Projection(width, width, dropout)
        self.out_project = Projection(2 * width, width, dropout)

    def halves(self, words_WD: torch.Tensor) -> SpanHalves:
        """The part of the inner layer that depends on one word only."""
        inner = self.out_project.inner
        of_start_FD, of_end_FD = inner.weight.chunk(2, dim=1)
        starts = nn.functional.linear(self.project_start(words_WD).relu(), of_start_FD)
        ends = nn.functional.linear(self.project_end(words_WD).relu(), of_end_FD, inner.bias)
        return SpanHalves(starts, ends)

    def score(self, halves: SpanHalves, prototypes_CD: torch.Tensor) -> torch.Tensor:
        """Logits of every span of up to K words against every type.

        Returns:
            (K, W, C): [k, i, c] is the span of words i..i+k. Spans that run past their text or the batch have logits
            that mean nothing; `span_mask` says which ones to use.
        """
        outer = self.out_project.outer
        folded_CF = prototypes_CD @ outer.weight
        keep_WF = self._shared_dropout(halves.starts_WF)
        scores: torch.Tensor = _Scores.apply(halves.starts_WF, halves.ends_WF, keep_WF, folded_CF, self.max_width)  # type: ignore[no-untyped-call]
        return scores + prototypes_CD @ outer.bias

    def represent(self, halves: SpanHalves, starts_S: torch.Tensor, ends_S: torch.Tensor) -> torch.Tensor:
        """S_ij of the chosen spans, (S, D); `starts_S`, `ends_S`: first and last word."""
        hidden = (halves.starts_WF[starts_S] + halves.ends_WF[ends_S]).relu()
        represented: torch.Tensor = self.out_project.outer(self.out_project.dropout(hidden))
        return represented

    def forward(self, words_WD: torch.Tensor, starts_S: torch.Tensor, ends_S: torch.Tensor) -> torch.Tensor:
        """S_ij computed span by span as in the paper: the reference that `halves` and `score` must equal. (S, D)."""
        pairs = torch.cat([self.project_start(words_WD)[starts_S], self.project_end(words_WD)[ends_S]], dim=1)
        represented: torch.Tensor = self.out_project(pairs.relu())
        return represented

    def _shared_dropout(self, like_WF: torch.Tensor) -> torch.Tensor | None:
        # One mask a start word, shared by its K spans: drawing K·W·F random numbers costs more than the layer itself.
        p = self.out_project.dropout.p
        if not self.training or p == 0:
            return None
        return keep_mask(like_WF, p)


class _Scores(torch.autograd.Function):
    """[k, i] = relu(starts_i + ends_{i+k}) · folded, for k < K: the inner layer of K·W spans is never held as a whole.

    Autograd would hold it several times over, and would fill and add a (W, F) matrix for every slice.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        starts_WF: torch.Tensor,
        ends_WF: torch.Tensor,
        keep_WF: torch.Tensor | None,
        folded_CF: torch.Tensor,
        max_width: int,
    ) -> torch.Tensor:
        if keep_WF is not None:
            starts_WF = starts_WF * keep_WF
        ctx.save_for_backward(starts_WF, ends_WF, keep_WF, folded_CF)
        n_words = starts_WF.shape[0]
        scores_KWC = starts_WF.new_zeros(max_width, n_words, folded_CF.shape[0])
        for k in range(min(max_width, n_words)):
            scores_KWC[k, : n_words - k] = _inner(starts_WF, ends_WF, keep_WF, k) @ folded_CF.T
        return scores_KWC

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_KWC: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        starts_WF, ends_WF, keep_WF, folded_CF = ctx.saved_tensors
        grad_starts, grad_ends = torch.zeros_like(starts_WF), torch.zeros_like(ends_WF)
        grad_folded = torch.zeros_like(folded_CF, dtype=torch.promote_types(folded_CF.dtype, torch.float32))
        n_words = starts_WF.shape[0]
        for k in range(min(grad_KWC.shape[0], n_words)):
            inner, grad_WC = _inner(starts_WF, ends_WF, keep_WF, k), grad_KWC[k, : n_words - k]
            grad_folded += grad_WC.T @ inner
            through = torch.ops.aten.threshold_backward(grad_WC @ folded_CF, inner, 0)
            if keep_WF is not None:
                through *= keep_WF[: n_words - k]
            grad_starts[: n_words - k] += through
            grad_ends[k:] += through
        return grad_starts, grad_ends, None, grad_folded.to(folded_CF.dtype), None


def _inner(starts_WF: torch.Tensor, ends_WF: torch.Tensor, keep_WF: torch.Tensor | None, k: int) -> torch.Tensor:
    """Inner layer of the spans of k + 1 words; `starts_WF` has met `keep_WF` already."""
    starts, ends = starts_WF[: starts_WF.shape[0] - k], ends_WF[k:]
    if keep_WF is None:
        return (starts + ends).relu_()
    return torch.addcmul(starts, ends, keep_WF[: starts.shape[0]]).relu_()


def span_mask(text_of_word_W: torch.Tensor, max_width: int) -> torch.Tensor:
    """Which spans lie within one text, (K, W) bool: [k, i] holds when words i and i+k exist and share a text."""
    n_words = text_of_word_W.shape[0]
    mask_KW = torch.zeros(max_width, n_words, dtype=torch.bool, device=text_of_word_W.device)
    for k in range(min(max_width, n_words)):
        mask_KW[k, : n_words - k] = text_of_word_W[: n_words - k] == text_of_word_W[k:]
    return mask_KW
