"""Link prediction: the rank of the true head and tail among all candidates, other true triples filtered out.

Ties are realistic (Berrendorf et al. 2020): a rank is the mean of its optimistic and pessimistic value, so a model that
scores everything alike gains nothing. Dimensions: Q triples of a chunk, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.teacher.negatives import HEAD, TAIL, SidePools

HITS_AT = (1, 3, 10)


class CandidateScorer(Protocol):
    """What `rank_triples` asks of a model."""

    def score_candidates(
        self, relation: int, anchors_Q: torch.Tensor, candidates_C: torch.Tensor, *, side: int
    ) -> torch.Tensor:
        """Scores (Q, C), higher is more plausible; `side` is the one that the candidates fill."""
        ...


@dataclass(frozen=True)
class Ranking:
    """Filtered ranks, best 1.

    Attributes:
        heads: (T,) rank of each triple's head.
        tails: (T,) rank of each triple's tail.
        n_candidates: mean number of candidates that a rank is among.
    """

    heads: npt.NDArray[np.float64]
    tails: npt.NDArray[np.float64]
    n_candidates: float

    def metrics(self) -> dict[str, float]:
        """Mean reciprocal rank, mean rank and Hits@1/3/10 over both sides, and the MRR of each side."""
        if not len(self.heads):
            return {}
        both = np.concatenate([self.heads, self.tails])
        hits = {f"hits_at_{k}": float((both <= k).mean()) for k in HITS_AT}
        sides = {"mrr_head": float((1 / self.heads).mean()), "mrr_tail": float((1 / self.tails).mean())}
        return {"mrr": float((1 / both).mean()), "mean_rank": float(both.mean()), **hits, **sides}


@torch.no_grad()
def rank_triples(
    model: CandidateScorer,
    triples: npt.NDArray[np.int64],
    *,
    known: npt.NDArray[np.int64],
    pools: SidePools,
    chunk: int = 256,
) -> Ranking:
    """Rank both ends of `triples` among the nodes of `pools`.

    Args:
        model: scores candidates.
        triples: (T, 3) head, relation, tail; each end must be in its pool.
        known: (E, 3) all true triples (training ones and `triples`); they are no competitors.
        pools: candidates of each side of each relation.
        chunk: triples scored at once; memory is chunk x candidates.
    """
    ranks = np.empty((2, len(triples)))
    n_candidates = []
    for side, anchor, target in ((HEAD, 2, 0), (TAIL, 0, 2)):
        for relation in np.unique(triples[:, 1]):
            rows = np.flatnonzero(triples[:, 1] == relation)
            facts = _Facts(known[known[:, 1] == relation], anchor, target)
            candidates = pools.nodes(int(relation), side)
            n_candidates.append(len(candidates) * len(rows))
            for start in range(0, len(rows), chunk):
                part = rows[start : start + chunk]
                anchors = triples[part, anchor]
                scores = model.score_candidates(int(relation), torch.from_numpy(anchors), candidates, side=side)
                ranks[side, part] = _ranks(
                    scores, candidates, torch.from_numpy(triples[part, target]), facts.of(anchors)
                )
    return Ranking(ranks[HEAD], ranks[TAIL], sum(n_candidates) / max(1, 2 * len(triples)))


def hold_out(
    triples: npt.NDArray[np.int64], *, n: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split distinct triples into (training, test); `n` or fewer for the test.

    The first triple of each head, relation and tail in a random order stays in training, so nothing is asked about a
    node or relation that was never seen.
    """
    order = np.random.default_rng(seed).permutation(len(triples))
    first = np.zeros(len(triples), dtype=bool)
    _, ends = np.unique(triples[order][:, [0, 2]].ravel(), return_index=True)
    first[ends // 2] = True
    first[np.unique(triples[order][:, 1], return_index=True)[1]] = True
    test = np.zeros(len(triples), dtype=bool)
    test[order[~first][:n]] = True
    return triples[~test], triples[test]


class _Facts:
    """The true targets of each anchor, for one relation and side."""

    def __init__(self, known: npt.NDArray[np.int64], anchor: int, target: int) -> None:
        order = np.argsort(known[:, anchor], kind="stable")
        self._anchors, self._targets = known[order, anchor], known[order, target]

    def of(self, anchors: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Row in `anchors` and node of every true target, both (F,)."""
        first, last = (np.searchsorted(self._anchors, anchors, side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(anchors)), last - first)
        targets = [self._targets[a:b] for a, b in zip(first, last, strict=True)]
        return torch.from_numpy(rows), torch.from_numpy(np.concatenate(targets)) if targets else torch.empty(0)


def _ranks(
    scores_QC: torch.Tensor,
    candidates_C: torch.Tensor,
    targets_Q: torch.Tensor,
    facts: tuple[torch.Tensor, torch.Tensor],
) -> npt.NDArray[np.float64]:
    columns = torch.searchsorted(candidates_C, targets_Q)
    target_Q1 = scores_QC.gather(1, columns.unsqueeze(1))
    rows, nodes = facts
    places = torch.searchsorted(candidates_C, nodes).clamp(max=len(candidates_C) - 1)
    inside = candidates_C[places] == nodes
    scores_QC[rows[inside], places[inside]] = -torch.inf
    # the target is itself a true triple, so it was filtered too and counts as worse; what is not worse competes.
    # Counting what is better instead would give a model of NaNs rank 1.
    worse = (scores_QC < target_Q1).sum(1)
    equal = (scores_QC == target_Q1).sum(1)
    result: npt.NDArray[np.float64] = (1 + len(candidates_C) - worse - equal / 2).double().cpu().numpy()
    return result
