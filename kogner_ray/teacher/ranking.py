"""Link prediction: the rank of the true head and tail among all candidates, other true triples filtered out.

Ties are realistic (Berrendorf et al. 2020): a rank is the mean of its optimistic and pessimistic value, so a model that
scores everything alike gains nothing. Candidates are scored in slices and triples in chunks, so memory is bounded; of
many triples a random sample is ranked, each exactly, and every mean comes with its standard error. (A sample of
candidates would bias the reciprocal of a rank.) Dimensions: Q triples of a chunk, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.teacher.negatives import HEAD, TAIL, SidePools

HITS_AT = (1, 3, 10)
_SLICE = 1 << 16
_BYTES_A_SCORE = 6  # float32, and two comparisons with the target's


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
        """Mean reciprocal rank, mean rank and Hits@1/3/10 over both sides, and the MRR of each side.

        `<name>_se` is the standard error of each, the ranked triples being a sample of all: 95 % of such samples give a
        mean within 1.96 of it. The two ranks of a triple count as one observation.
        """
        if not len(self.heads):
            return {}
        both = np.stack([self.heads, self.tails])
        values = {"mrr": 1 / both, "mean_rank": both, **{f"hits_at_{k}": both <= k for k in HITS_AT}}
        values |= {"mrr_head": 1 / both[:1], "mrr_tail": 1 / both[1:]}
        means = {name: float(value.mean()) for name, value in values.items()}
        return means | {f"{name}_se": _standard_error(value.mean(0)) for name, value in values.items()}


@torch.no_grad()
def rank_triples(
    model: CandidateScorer,
    triples: npt.NDArray[np.int64],
    *,
    known: npt.NDArray[np.int64],
    pools: SidePools,
    sample: int | None = None,
    seed: int = 0,
    memory: int = 1 << 28,
) -> Ranking:
    """Rank both ends of `triples`, or of a random sample of them, among the nodes of `pools`.

    Args:
        model: scores candidates.
        triples: (T, 3) head, relation, tail; each end must be in its pool.
        known: (E, 3) all true triples (training ones and `triples`); they are no competitors.
        pools: candidates of each side of each relation.
        sample: rank so many of them; None for all.
        seed: of the sample.
        memory: bytes that scores may take; at least one triple's are held, 6 bytes a candidate.
    """
    if sample is not None and sample < len(triples):
        triples = triples[np.sort(np.random.default_rng(seed).choice(len(triples), sample, replace=False))]
    ranks = np.empty((2, len(triples)))
    n_candidates = []
    known = known[np.argsort(known[:, 1], kind="stable")]
    for side, anchor, target in ((HEAD, 2, 0), (TAIL, 0, 2)):
        for relation in np.unique(triples[:, 1]):
            rows = np.flatnonzero(triples[:, 1] == relation)
            first, last = np.searchsorted(known[:, 1], [relation, relation + 1])
            facts = _Facts(known[first:last], anchor, target)
            candidates = pools.nodes(int(relation), side)
            n_candidates.append(len(candidates) * len(rows))
            chunk = max(1, memory // (_BYTES_A_SCORE * len(candidates)))
            for start in range(0, len(rows), chunk):
                part = rows[start : start + chunk]
                anchors = triples[part, anchor]
                scores = _scores(model, int(relation), torch.from_numpy(anchors), candidates, side)
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


def _scores(
    model: CandidateScorer, relation: int, anchors_Q: torch.Tensor, candidates_C: torch.Tensor, side: int
) -> torch.Tensor:
    """Scores (Q, C), slice by slice: what the model computes of a candidate is far larger than its score."""
    scores_QC = torch.empty(len(anchors_Q), len(candidates_C))
    for start in range(0, len(candidates_C), _SLICE):
        part = slice(start, start + _SLICE)
        scores_QC[:, part] = model.score_candidates(relation, anchors_Q, candidates_C[part], side=side)
    return scores_QC


def _standard_error(values: npt.NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


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
