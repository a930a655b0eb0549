"""Corrupted triples for TransR: which side is replaced, and by what.

Wang et al. 2014 (TransH): the head of a triple of relation r is replaced with probability tph / (tph + hpt), where tph
is the mean number of tails a head and hpt the mean number of heads a tail, so that a true triple is rarely drawn as a
negative. Dimensions: E triples, R relations, N nodes, T node types.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

HEAD, TAIL = 0, 1


def head_probabilities(triples: npt.NDArray[np.int64], *, n_relations: int) -> torch.Tensor:
    """Probability of replacing the head, tph / (tph + hpt), (R,); 0.5 for a relation without triples.

    Args:
        triples: (E, 3) head, relation, tail.
        n_relations: R.
    """
    n_nodes = int(triples[:, [0, 2]].max(initial=0)) + 1
    distinct = [np.unique(triples[:, 1] * n_nodes + triples[:, column]) // n_nodes for column in (0, 2)]
    n_heads, n_tails = (np.bincount(relations, minlength=n_relations) for relations in distinct)
    # tph = E_r / n_heads and hpt = E_r / n_tails, so E_r cancels
    total = np.maximum(n_heads + n_tails, 1)
    return torch.from_numpy(np.where(n_heads > 0, n_tails / total, 0.5).astype(np.float32))


class SidePools:
    """The nodes that may stand at each side of each relation: all, or those of the types seen there."""

    def __init__(
        self,
        triples: npt.NDArray[np.int64],
        *,
        n_relations: int,
        node_types: npt.NDArray[np.int64],
        by_type: bool = True,
        nodes: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Sort the nodes by type; which types belong where is all that is kept a relation.

        Args:
            triples: (E, 3) head, relation, tail, whose ends show which types belong where.
            n_relations: R.
            node_types: (N,) type index of each node.
            by_type: False makes every node a candidate everywhere.
            nodes: that may stand anywhere at all; None for all N.
        """
        n_types = int(node_types.max(initial=0)) + 1
        seen = np.zeros((n_relations, 2, n_types), dtype=bool)
        for side, column in ((HEAD, 0), (TAIL, 2)):
            seen[triples[:, 1], side, node_types[triples[:, column]]] = True
        self._types = allowed_types(seen, by_type=by_type)
        nodes = np.arange(len(node_types)) if nodes is None else nodes
        ordered = nodes[np.argsort(node_types[nodes], kind="stable")]
        self._nodes = np.split(ordered, np.searchsorted(node_types[ordered], np.arange(1, n_types)))

    def nodes(self, relation: int, side: int) -> torch.Tensor:
        """Nodes that may stand at `side` (HEAD or TAIL) of `relation`, ascending."""
        chosen = [self._nodes[kind] for kind in np.flatnonzero(self._types[relation, side])]
        return torch.from_numpy(np.sort(np.concatenate(chosen)))


def allowed_types(seen_R2T: npt.NDArray[np.bool_], *, by_type: bool) -> npt.NDArray[np.bool_]:
    """Types that may stand at each side of each relation, (R, 2, T): those seen there, or all where none was."""
    return seen_R2T | ~seen_R2T.any(-1, keepdims=True) | (not by_type)
