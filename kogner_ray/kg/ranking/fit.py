"""Fitting a `Ranker` to mentions whose concepts are known: maximum likelihood, drawn towards where it starts from.

A mention whose concept is not among its candidates, or not in the KG, is an example of `none of them`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.kg.index.index import MOST_BITS, LinkIndex
from kogner_ray.kg.ranking.finder import Ints
from kogner_ray.kg.ranking.pool import FEATURES, NIL_FEATURES, Floats, Pool
from kogner_ray.kg.ranking.ranker import Ranker, bit_matrix

_ITERATIONS = 150
_PULL = 2.0
"""Strength of the pull towards the start, in examples: with few of them little moves."""


@dataclass(frozen=True)
class Examples:
    """Groups whose answer is known.

    Attributes:
        pool: their candidates.
        right: (n,) whether a candidate is one of the concepts that the mentions denote.
        counts: (G,) mentions of each group.
        n_known: mentions whose concept is in the KG.
    """

    pool: Pool
    right: npt.NDArray[np.bool_]
    counts: Ints
    n_known: int


def fit(start: Ranker, examples: Examples, index: LinkIndex, *, priors: bool = True) -> Ranker:
    """`start` fitted to `examples`; its threshold and names stay.

    Args:
        start: weights to begin with and to be drawn to.
        examples: at least one.
        index: what they were found in.
        priors: also learn which vocabularies and, of each mention type, which types are denoted.
    """
    pool, design = examples.pool, _Design(start, examples.pool, index, priors=priors)
    owners, right = torch.from_numpy(pool.owners), torch.from_numpy(examples.right)
    counts, matrix, nil = torch.from_numpy(examples.counts).float(), design.candidates, design.nil
    begin_w, begin_v = torch.from_numpy(design.weights), torch.from_numpy(design.nil_weights)
    w, v = begin_w.clone().requires_grad_(), begin_v.clone().requires_grad_()
    answered = torch.zeros(len(counts), dtype=torch.bool).index_fill_(0, owners[right], True)

    def loss() -> torch.Tensor:
        logs, logs_nil = _log_softmax(matrix @ w, owners, nil @ v)
        own = torch.full_like(logs_nil, -torch.inf).scatter_reduce(
            0, owners[right], logs[right], "amax", include_self=False
        )
        total = -(counts * torch.where(answered, own, logs_nil)).sum()
        return total + _PULL * ((w - begin_w).pow(2).sum() + (v - begin_v).pow(2).sum())

    optimiser = torch.optim.LBFGS([w, v], max_iter=_ITERATIONS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
    made = {"examples": int(counts.sum()), "loss": float(loss().detach()) / max(1.0, float(counts.sum()))}
    return replace(design.ranker(w.detach().numpy(), v.detach().numpy()), made={**start.made, "fitted": made})


def best_threshold(ranker: Ranker, examples: Examples, index: LinkIndex) -> float:
    """The threshold of the highest F1 of right links on `examples`, which the ranker was not fitted to."""
    top, right, counts = best_candidates(ranker, examples, index)
    order = np.argsort(-top, kind="stable")
    linked, hits = np.cumsum(counts[order]), np.cumsum((counts * right)[order])
    f1 = 2 * hits / np.maximum(linked + examples.n_known, 1)
    if not len(f1) or not f1.max():
        return ranker.threshold
    at = int(np.argmax(f1))
    below = top[order[at + 1]] if at + 1 < len(order) else 0.0
    return float((top[order[at]] + below) / 2)


def best_candidates(ranker: Ranker, examples: Examples, index: LinkIndex) -> tuple[Floats, npt.NDArray[np.bool_], Ints]:
    """Probability of each group's best candidate (0 without any), whether it is right, and the group's mentions."""
    pool = examples.pool
    own, _ = ranker.probabilities(pool, index)
    order = np.lexsort((-own, pool.owners))
    groups, first = np.unique(pool.owners[order], return_index=True)
    top, right = np.zeros(len(examples.counts), np.float32), np.zeros(len(examples.counts), bool)
    top[groups], right[groups] = own[order[first]], examples.right[order[first]]
    return top, right, examples.counts


def _log_softmax(scores: torch.Tensor, owners: torch.Tensor, nil: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    top = nil.detach().scatter_reduce(0, owners, scores.detach(), "amax")
    sums = torch.exp(nil - top).scatter_add(0, owners, torch.exp(scores - top[owners]))
    log_z = top + torch.log(sums)
    return scores - log_z[owners], nil - log_z


class _Design:
    """The matrices that a ranker's weights multiply, and the weights as vectors."""

    def __init__(self, start: Ranker, pool: Pool, index: LinkIndex, *, priors: bool) -> None:
        self._start, self._index, self._priors = start, index, priors
        self._types = sorted(set(pool.types)) if priors else []
        blocks: list[Floats] = [pool.features]
        if priors:
            kinds = np.array(pool.types, dtype=object)[pool.owners]
            bits = bit_matrix(index.type_bits[pool.concepts])
            blocks.append(bit_matrix(index.vocabulary_bits[pool.concepts]))
            blocks += [bits * (kinds == type)[:, None].astype(np.float32) for type in self._types]
        self.candidates = torch.from_numpy(np.concatenate(blocks, axis=1))
        self.nil = torch.from_numpy(pool.nil)
        self.weights = np.array([self._weight(place) for place in range(self.candidates.shape[1])], dtype=np.float32)
        self.nil_weights = np.array([start.nil.get(name, 0.0) for name in NIL_FEATURES], dtype=np.float32)

    def ranker(self, weights: Floats, nil: Floats) -> Ranker:
        """The start with these weights."""
        own = dict(zip(FEATURES, map(float, weights), strict=False))
        none = dict(zip(NIL_FEATURES, map(float, nil), strict=True))
        if not self._priors:
            return replace(self._start, weights=own, nil=none)
        blocks = weights[len(FEATURES) :].reshape(-1, MOST_BITS)
        named = [_named(block, self._names(place)) for place, block in enumerate(blocks)]
        return replace(
            self._start,
            weights=own,
            nil=none,
            vocabularies=named[0],
            types={**self._start.types, **dict(zip(self._types, named[1:], strict=True))},
        )

    def _weight(self, place: int) -> float:
        if place < len(FEATURES):
            return self._start.weights.get(FEATURES[place], 0.0)
        block, bit = divmod(place - len(FEATURES), MOST_BITS)
        names = self._names(block)
        known = self._start.vocabularies if block == 0 else self._start.types.get(self._types[block - 1], {})
        return known.get(names[bit], 0.0) if bit < len(names) else 0.0

    def _names(self, block: int) -> Sequence[str]:
        return (self._index.vocabularies if block == 0 else self._index.exact.types)[:MOST_BITS]


def _named(block: Floats, names: Sequence[str]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(names, block, strict=False) if abs(value) > 1e-3}
