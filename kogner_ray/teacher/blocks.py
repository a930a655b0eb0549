"""Triples in blocks of one relation, each compared with the same drawn nodes: what a step of TransR is made of.

A block is up to G training triples of one relation, one end of each replaced by C nodes that the block shares; which
end is drawn once a block. So a step is a batched product of equal shapes, a node is projected once a block, and C
negatives a triple cost little more than one (shared as in Lerer et al. 2019, PBG, and Zheng et al. 2020, DGL-KE).

Dimensions: E triples, B blocks, G triples a block, C negatives a block, R relations, S stretches of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.teacher.negatives import HEAD, TAIL

_MAX_PADDING = 1.5


@dataclass(frozen=True)
class Blocks:
    """Some blocks.

    Attributes:
        relations_B: relation of each.
        rows: (B, 2G + C) entities: G that are kept, G true ones at the other end, C that are put in their place.
        signs_B: +1 where tails are replaced (wanted: M h + r), -1 where heads are (wanted: M t - r).
        valid_BG: False where a block has fewer than G triples; its rows then repeat one.
    """

    relations_B: torch.Tensor
    rows: torch.Tensor
    signs_B: torch.Tensor
    valid_BG: torch.Tensor

    @property
    def n_triples(self) -> int:
        """Triples in all blocks."""
        return int(self.valid_BG.sum())


class RowPools:
    """Rows of the entities in memory that may stand at each side of each relation, as stretches of rows."""

    def __init__(self, stretches_S2: npt.NDArray[np.int64], allowed_R2S: npt.NDArray[np.bool_]) -> None:
        """Keep the stretches.

        Args:
            stretches_S2: first row, and row after the last, of each.
            allowed_R2S: which of them each side of each relation may be drawn from.
        """
        self._starts_S = torch.from_numpy(stretches_S2[:, 0].copy())
        sizes = np.where(allowed_R2S, np.diff(stretches_S2, axis=1)[:, 0], 0)
        self._ends_R2S = torch.from_numpy(np.cumsum(sizes, axis=-1))
        self._sizes_R2S = torch.from_numpy(sizes)

    def draw(
        self, relations_B: torch.Tensor, sides_B: torch.Tensor, n: int, generator: torch.Generator
    ) -> torch.Tensor:
        """`n` rows for each relation and side, uniform over its stretches, (B, n)."""
        ends_BS, sizes_BS = self._ends_R2S[relations_B, sides_B], self._sizes_R2S[relations_B, sides_B]
        draws = torch.rand(len(relations_B), n, generator=generator, dtype=torch.float64)
        places = (draws * ends_BS[:, -1:]).long()
        chosen = torch.searchsorted(ends_BS, places, right=True)
        rows: torch.Tensor = self._starts_S[chosen] + places - (ends_BS - sizes_BS).gather(1, chosen)
        return rows


class BlockSampler:
    """Cuts triples into blocks, in a new order each epoch."""

    def __init__(
        self,
        triples_E3: npt.NDArray[np.int64],
        pools: RowPools,
        head_probability_R: torch.Tensor,
        *,
        block: int,
        negatives: int,
    ) -> None:
        """Prepare.

        Args:
            triples_E3: head row, relation, tail row; sorted by relation.
            pools: what may stand where.
            head_probability_R: of replacing heads, as of `negatives.head_probabilities`.
            block: G at most; less where many relations have few triples, and blocks would be mostly padding.
            negatives: C.
        """
        self._triples_E3 = torch.from_numpy(triples_E3)
        present, counts = torch.unique_consecutive(self._triples_E3[:, 1], return_counts=True)
        self._present = present
        # numpy sorts numbers of 16 bits by radix, some ten times as fast
        kind = np.uint16 if len(present) < 1 << 16 else np.int64
        self._sort_keys_E = torch.repeat_interleave(counts).numpy().astype(kind)
        self._counts, self._firsts = counts, torch.cumsum(counts, 0) - counts
        self._pools, self._head_probability_R, self._negatives = pools, head_probability_R, negatives
        self.block = block
        while self.block > 1 and -(-counts // self.block).sum() * self.block > _MAX_PADDING * counts.sum():
            self.block //= 2
        self._n_blocks = -(-counts // self.block)

    def batches(self, *, batch_size: int, generator: torch.Generator) -> Iterator[Blocks]:
        """The blocks of one pass, with their negatives; about `batch_size` triples at a time."""
        owner, places = self._shuffled(generator)
        per_batch = max(1, batch_size // self.block)
        for relations_B, places_BG in zip(owner.split(per_batch), places.split(per_batch), strict=True):
            at_head_B = torch.rand(len(relations_B), generator=generator) < self._head_probability_R[relations_B]
            sides_B = torch.where(at_head_B, HEAD, TAIL)
            valid_BG = places_BG >= 0
            triples_BG3 = self._triples_E3[torch.where(valid_BG, places_BG, places_BG[:, :1])]
            ends = triples_BG3[:, :, 0], triples_BG3[:, :, 2]
            kept, true = (torch.where(at_head_B.unsqueeze(1), *pair) for pair in (ends[::-1], ends))
            drawn = self._pools.draw(relations_B, sides_B, self._negatives, generator)
            signs_B = torch.where(at_head_B, -1.0, 1.0)
            yield Blocks(relations_B, torch.cat([kept, true, drawn], dim=1), signs_B, valid_BG)

    def _shuffled(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """All blocks in a random order: relation of each, and places of its triples (-1: padding)."""
        order = torch.randperm(len(self._triples_E3), generator=generator)
        order = order[torch.from_numpy(np.argsort(self._sort_keys_E[order.numpy()], kind="stable"))]
        owner = torch.repeat_interleave(self._n_blocks)
        first = (torch.arange(len(owner)) - (torch.cumsum(self._n_blocks, 0) - self._n_blocks)[owner]) * self.block
        within = first.unsqueeze(1) + torch.arange(self.block)
        valid = within < self._counts[owner].unsqueeze(1)
        places = order[torch.where(valid, self._firsts[owner].unsqueeze(1) + within, 0)].where(valid, -1)
        shuffle = torch.randperm(len(owner), generator=generator)
        return self._present[owner[shuffle]], places[shuffle]
