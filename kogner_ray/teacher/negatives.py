"""Corrupted triples for TransR: which side is replaced, and by what.

Wang et al. 2014 (TransH): the head of a triple of relation r is replaced with probability tph / (tph + hpt), where tph
is the mean number of tails a head and hpt the mean number of heads a tail, so that a true triple is rarely drawn as a
negative. Dimensions: B triples, K negatives a triple, R relations, N nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

HEAD, TAIL = 0, 1


@dataclass(frozen=True)
class Corruption:
    """What replaces one end of each triple.

    Attributes:
        entities: (B, K) replacing nodes.
        at_head: (B, K) True where the head is replaced, False where the tail is.
    """

    entities: torch.Tensor
    at_head: torch.Tensor


def head_probabilities(triples: npt.NDArray[np.int64], *, n_relations: int) -> torch.Tensor:
    """Probability of replacing the head, tph / (tph + hpt), (R,); 0.5 for a relation without triples.

    Args:
        triples: (E, 3) head, relation, tail.
        n_relations: R.
    """
    distinct = [np.unique(triples[:, [1, column]], axis=0)[:, 0] for column in (0, 2)]
    n_heads, n_tails = (np.bincount(rows, minlength=n_relations) for rows in distinct)
    # tph = E_r / n_heads and hpt = E_r / n_tails, so E_r cancels
    total = np.maximum(n_heads + n_tails, 1)
    return torch.from_numpy(np.where(n_heads > 0, n_tails / total, 0.5).astype(np.float32))


class SidePools:
    """The nodes that may stand at each side of each relation: all, or those of the types seen there.

    Relations with the same types at a side share one pool, so memory is bounded by the distinct sets of types times N.
    """

    def __init__(
        self,
        triples: npt.NDArray[np.int64],
        *,
        n_relations: int,
        node_types: npt.NDArray[np.int64],
        by_type: bool = True,
    ) -> None:
        """Collect the pools.

        Args:
            triples: (E, 3) head, relation, tail, whose ends show which types belong where.
            n_relations: R.
            node_types: (N,) type index of each node.
            by_type: False makes every node a candidate everywhere.
        """
        self._pools: list[torch.Tensor] = []
        self._index = np.zeros((n_relations, 2), dtype=np.int64)
        known: dict[bytes, int] = {}
        for side, column in ((HEAD, 0), (TAIL, 2)):
            seen = np.zeros((n_relations, int(node_types.max(initial=0)) + 1), dtype=bool)
            seen[triples[:, 1], node_types[triples[:, column]]] = True
            for relation, types in enumerate(seen if by_type else np.ones_like(seen)):
                types = types if types.any() else np.ones_like(types)
                if types.tobytes() not in known:
                    known[types.tobytes()] = len(self._pools)
                    self._pools.append(torch.from_numpy(np.flatnonzero(types[node_types])))
                self._index[relation, side] = known[types.tobytes()]
        self._flat = torch.cat(self._pools)
        sizes = torch.tensor([len(pool) for pool in self._pools])
        starts = torch.cumsum(sizes, 0) - sizes
        self._sizes_R2, self._starts_R2 = sizes[self._index], starts[self._index]

    def nodes(self, relation: int, side: int) -> torch.Tensor:
        """Nodes that may stand at `side` (HEAD or TAIL) of `relation`, ascending."""
        return self._pools[int(self._index[relation, side])]

    def draw(self, relations: torch.Tensor, sides: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """One node, uniform over its pool, for each relation and side (both of one shape); that shape."""
        sizes = self._sizes_R2[relations, sides]
        offsets = (torch.rand(sizes.shape, generator=generator, dtype=torch.float64) * sizes).long()
        drawn: torch.Tensor = self._flat[self._starts_R2[relations, sides] + offsets]
        return drawn


class BernoulliNegatives:
    """Draws corruptions: the side by Wang et al. 2014, the node uniformly from the pool of that side."""

    def __init__(self, head_probability_R: torch.Tensor, pools: SidePools) -> None:
        """Keep both.

        Args:
            head_probability_R: as of `head_probabilities`.
            pools: what may stand where.
        """
        self._head_probability_R, self._pools = head_probability_R, pools

    def corrupt(self, triples_B3: torch.Tensor, *, n_negatives: int, generator: torch.Generator) -> Corruption:
        """Draw `n_negatives` corruptions a triple. A drawn node may make another true triple (rarely)."""
        relations_BK = triples_B3[:, 1:2].expand(-1, n_negatives)
        draws_BK = torch.rand(relations_BK.shape, generator=generator)
        at_head_BK = draws_BK < self._head_probability_R[relations_BK]
        sides_BK = torch.where(at_head_BK, HEAD, TAIL)
        return Corruption(self._pools.draw(relations_BK, sides_BK, generator), at_head_BK)
