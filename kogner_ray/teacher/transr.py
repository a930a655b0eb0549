"""Z'': TransR (Lin et al. 2015), entities and relations in spaces of their own.

    score(h, r, t) = -||M_r h + r - M_r t||^2,   h and t L2-normalised

`projections[r]` is M_r, stored (k, d); `relations[r]` is r. As in TorchKGE the squared norm is taken. M_r is the same
for both ends. Triples are grouped by relation: one GEMM a relation, and no buffer over relations x entities. How it is
trained is in `transr_step`. Differs from Lin et al. 2015: M_r starts as the identity with random entities instead of a
finished TransE, and projected entities are not constrained to the unit ball.

Dimensions: B triples, N entities, R relations, d entity width, k relation width, Q queries,
C candidates.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from kogner_ray.teacher.negatives import HEAD


class TransR(nn.Module):
    """The weights, and the scores they give."""

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
        self.entities = nn.Embedding.from_pretrained(entities, freeze=False)
        self.relations = nn.Parameter(relations)
        self.projections = nn.Parameter(torch.eye(relation_dim, entity_dim).repeat(n_relations, 1, 1))

    def score(self, triples_B3: torch.Tensor) -> torch.Tensor:
        """Scores of any triples (head, relation, tail), (B,); higher is more plausible."""
        order = torch.argsort(triples_B3[:, 1], stable=True)
        heads, relations, tails = triples_B3[order].unbind(1)
        unit = F.normalize(self.entities(torch.stack([heads, tails])), dim=-1)
        present, counts = torch.unique_consecutive(relations, return_counts=True)
        groups = (unit[0] - unit[1]).split(counts.tolist())
        projected = [group @ self.projections[r].T for r, group in zip(present.tolist(), groups, strict=True)]
        differences = torch.cat([*projected, self.relations[:0]]) + self.relations[relations]
        return torch.empty_like(differences[:, 0]).index_copy(0, order, -differences.square().sum(-1))

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
