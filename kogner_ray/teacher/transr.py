"""Z'': TransR (Lin et al. 2015), entities and relations in spaces of their own.

    score(h, r, t) = -||M_r h + r - M_r t||^2,   h and t L2-normalised

`projections[r]` is M_r, stored (k, d); `relations[r]` is r. As in TorchKGE the squared norm is taken. M_r is the same
for both ends, so it is applied once, to h - t. Triples are grouped by relation: one GEMM a relation, and no buffer over
relations x entities. Differs from Lin et al. 2015: M_r starts as the identity with random entities instead of a
finished TransE, and projected entities are not constrained to the unit ball.

Dimensions: B triples, K negatives a triple, N entities, R relations, d entity width, k relation width, Q queries,
C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from kogner_ray.teacher.negatives import HEAD, Corruption


@dataclass(frozen=True)
class PairScores:
    """Scores of true triples, (B,), and of their corruptions, (B, K); higher is more plausible."""

    positive_B: torch.Tensor
    negative_BK: torch.Tensor

    def margin_loss(self, margin: float) -> torch.Tensor:
        """Sum over all pairs of max(0, margin - positive + negative)."""
        return F.relu(margin - self.positive_B.unsqueeze(1) + self.negative_BK).sum()


class TransR(nn.Module):
    """TransR with sparse gradients for its entities."""

    def __init__(
        self, *, n_entities: int, n_relations: int, entity_dim: int = 58, relation_dim: int = 58, seed: int = 0
    ) -> None:
        """Random unit entities and relations, identity projections.

        Args:
            n_entities: N.
            n_relations: R.
            entity_dim: d.
            relation_dim: k.
            seed: of the random start.
        """
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        entities = F.normalize(torch.randn(n_entities, entity_dim, generator=generator), dim=-1)
        relations = F.normalize(torch.randn(n_relations, relation_dim, generator=generator), dim=-1)
        self.entities = nn.Embedding.from_pretrained(entities, freeze=False, sparse=True)
        self.relations = nn.Parameter(relations)
        self.projections = nn.Parameter(torch.eye(relation_dim, entity_dim).repeat(n_relations, 1, 1))

    def score(self, triples_B3: torch.Tensor) -> torch.Tensor:
        """Scores of any triples (head, relation, tail), (B,); higher is more plausible."""
        order = torch.argsort(triples_B3[:, 1], stable=True)
        heads, relations, tails = triples_B3[order].unbind(1)
        unit = F.normalize(self.entities(torch.stack([heads, tails])), dim=-1)
        scores = torch.empty(len(order), dtype=unit.dtype, device=unit.device)
        return scores.index_copy(0, order, self._score_differences((unit[0] - unit[1]).unsqueeze(1), relations)[:, 0])

    def score_pairs(self, triples_B3: torch.Tensor, corruption: Corruption) -> PairScores:
        """Score true triples and their corruptions together.

        Args:
            triples_B3: head, relation, tail, *sorted by relation*.
            corruption: of these triples, in this order.
        """
        heads, relations, tails = triples_B3.unbind(1)
        rows, where = torch.unique(torch.cat([heads, tails, corruption.entities.flatten()]), return_inverse=True)
        unit = F.normalize(self.entities(rows), dim=-1)
        n = len(heads)
        # not `unit[where]`: its gradient is summed in whatever order the threads come, and runs would differ
        h_Bd, t_Bd, c_Bd = (F.embedding(part, unit) for part in where.tensor_split([n, 2 * n]))
        c_BKd = c_Bd.view(n, -1, unit.shape[1])
        at_head_BK1 = corruption.at_head.unsqueeze(-1)
        corrupted_BKd = torch.where(at_head_BK1, c_BKd - t_Bd.unsqueeze(1), h_Bd.unsqueeze(1) - c_BKd)
        scores = self._score_differences(torch.cat([(h_Bd - t_Bd).unsqueeze(1), corrupted_BKd], dim=1), relations)
        return PairScores(scores[:, 0], scores[:, 1:])

    def score_candidates(
        self, relation: int, anchors_Q: torch.Tensor, candidates_C: torch.Tensor, *, side: int
    ) -> torch.Tensor:
        """Scores of (candidate, r, anchor) at side HEAD or (anchor, r, candidate) at side TAIL, (Q, C)."""
        projection = self.projections[relation]
        anchors_Qk = F.normalize(self.entities(anchors_Q), dim=-1) @ projection.T
        candidates_Ck = F.normalize(self.entities(candidates_C), dim=-1) @ projection.T
        wanted_Qk = anchors_Qk - self.relations[relation] if side == HEAD else anchors_Qk + self.relations[relation]
        squares_Q1, squares_C = wanted_Qk.square().sum(-1, keepdim=True), candidates_Ck.square().sum(-1)
        return 2 * wanted_Qk @ candidates_Ck.T - squares_Q1 - squares_C

    @torch.no_grad()
    def renormalise(self, rows: torch.Tensor) -> None:
        """Put the entities `rows` back on the unit sphere (scores do not change; step sizes stay comparable)."""
        self.entities.weight[rows] = F.normalize(self.entities.weight[rows], dim=-1)

    def _score_differences(self, delta_BXd: torch.Tensor, relations_B: torch.Tensor) -> torch.Tensor:
        """-||M_r delta + r||^2 for differences sorted by relation, (B, X)."""
        present, counts = torch.unique_consecutive(relations_B, return_counts=True)
        # unbind, not indexing: the gradient of `projections[r]` is as large as all projections together
        projections = self.projections.unbind(0)
        groups = delta_BXd.split(counts.tolist())
        projected = [group @ projections[r].T for r, group in zip(present.tolist(), groups, strict=True)]
        return -(torch.cat(projected) + F.embedding(relations_B, self.relations).unsqueeze(1)).square().sum(-1)
