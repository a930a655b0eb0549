"""Training a few rows of a large table: gradients summed over repeated rows, then Adagrad on these rows alone.

Every sum is taken in the order of the batch, never in that of the threads: runs with one seed are equal bit by bit.
Dimensions: n rows asked for, U distinct ones, w width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

_EPSILON = 1e-10  # torch.optim.Adagrad's
_POSITION_BITS = 31


@dataclass(frozen=True)
class Distinct:
    """The distinct rows among those that a batch asks for.

    Attributes:
        rows_U: ascending.
        inverse_n: place in `rows_U` of each row asked for.
        order_n: places of the rows asked for, equal ones together.
        starts_U: where the places of each distinct row begin in `order_n`.
    """

    rows_U: torch.Tensor
    inverse_n: torch.Tensor
    order_n: torch.Tensor
    starts_U: torch.Tensor

    @classmethod
    def of(cls, rows_n: torch.Tensor) -> Distinct:
        """Sort `rows_n`, (n,), below 2^32."""
        # row and place in one number, sorted by numpy: several times as fast as torch.unique
        keys = np.sort((rows_n.numpy() << _POSITION_BITS) | np.arange(len(rows_n)))
        order, ordered = keys & ((1 << _POSITION_BITS) - 1), keys >> _POSITION_BITS
        first = np.ones(len(keys), dtype=bool)
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        inverse = np.empty_like(order)
        inverse[order] = np.cumsum(first) - 1
        arrays = (ordered[starts], inverse, order, starts)
        return cls(*(torch.from_numpy(array) for array in arrays))

    def sum(self, values_nw: torch.Tensor) -> torch.Tensor:
        """Values of equal rows summed, (U, w)."""
        return F.embedding_bag(self.order_n, values_nw, self.starts_U, mode="sum")


class AdagradRows:
    """A table of weights with the sum of squared gradients beside each: a row is read and written in one stretch.

    Attributes:
        table: (rows, 2w): weights, then sums.
    """

    def __init__(self, table: torch.Tensor) -> None:
        """Train `table` in place."""
        self.table, self._width = table, table.shape[1] // 2

    @classmethod
    def of(cls, weights: torch.Tensor) -> AdagradRows:
        """Untrained rows."""
        return cls(torch.cat([weights, torch.zeros_like(weights)], dim=1))

    @property
    def weights(self) -> torch.Tensor:
        """(rows, w), a view."""
        return self.table[:, : self._width]

    def read(self, rows_U: torch.Tensor) -> torch.Tensor:
        """Weights and sums of some rows, (U, 2w), copied."""
        return self.table.index_select(0, rows_U)

    def step(
        self, rows_U: torch.Tensor, read_U2w: torch.Tensor, gradient_Uw: torch.Tensor, *, lr: float, unit: bool = False
    ) -> None:
        """Duchi et al. 2011 for distinct rows.

        Args:
            rows_U: distinct.
            read_U2w: what `read` gave for them; used up.
            gradient_Uw: of the weights.
            lr: step size.
            unit: put the rows back on the unit sphere.
        """
        weights, sums = read_U2w.split(self._width, dim=1)
        sums.addcmul_(gradient_Uw, gradient_Uw)
        weights.addcdiv_(gradient_Uw, sums.sqrt().add_(_EPSILON), value=-lr)
        if unit:
            weights.div_(torch.linalg.vector_norm(weights, dim=1, keepdim=True).clamp_(min=1e-12))
        self.table.index_copy_(0, rows_U, read_U2w)
