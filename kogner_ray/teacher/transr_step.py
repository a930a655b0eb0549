"""One training step of TransR, by hand: scores of blocks, gradients of the margin loss, Adagrad on the rows touched.

With w = M e + s r of an entity e that is kept (s = +1 where tails are replaced, -1 where heads are), t = M e' of the
true other end and c = M e'' of a drawn one, the loss is the sum of max(0, margin + |w - t|^2 - |w - c|^2) over pairs.
With A = 1 where a pair adds to it, half of its gradient is

    of w:  A c - t (A 1)        of t:  (t - w) (A 1)        of c:  A^T w - c (A^T 1)

so autograd would only keep what is computed here once. Entities are unit vectors before and after each step; their
gradient is projected onto the tangent of the sphere, which is that of the scores' normalisation.

Dimensions: B blocks, G triples a block, C negatives a block, X = 2G + C entities of a block, d entity width, k relation
width, R relations, U distinct rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kogner_ray.teacher.blocks import Blocks
from kogner_ray.teacher.rows import AdagradRows, Distinct
from kogner_ray.teacher.transr import TransR


@dataclass(frozen=True)
class Rates:
    """Step sizes of Adagrad: of entities and relations, and of projections."""

    vectors: float
    projections: float


@dataclass(frozen=True)
class Relations:
    """What is trained of each relation, with Adagrad's sums: r, rows (R, 2k), and M_r, rows (R, 2kd)."""

    vectors: AdagradRows
    projections: AdagradRows

    @classmethod
    def of(cls, model: TransR) -> Relations:
        """Those of an untrained model, copied."""
        weights = (model.relations.detach(), model.projections.detach().flatten(1))
        return cls(*(AdagradRows.of(matrix) for matrix in weights))

    def copy(self) -> Relations:
        """The same, which further training leaves alone."""
        return Relations(*(AdagradRows(rows.table.clone()) for rows in (self.vectors, self.projections)))


@dataclass(frozen=True)
class BlockGradients:
    """Of the mean loss over pairs.

    Attributes:
        loss: summed over pairs.
        entities_nd: (B * X, d), of each row asked for.
        relations_Bk: of r, for each block.
        projections_Bkd: of M, for each block.
    """

    loss: torch.Tensor
    entities_nd: torch.Tensor
    relations_Bk: torch.Tensor
    projections_Bkd: torch.Tensor


def train_step(
    entities: AdagradRows, relations: Relations, blocks: Blocks, *, margin: float, rates: Rates
) -> torch.Tensor:
    """Learn from `blocks`; returns the loss, summed over pairs."""
    ends, groups = Distinct.of(blocks.rows.flatten()), Distinct.of(blocks.relations_B)
    read, vectors, projections = (
        table.read(distinct.rows_U)
        for table, distinct in ((entities, ends), (relations.vectors, groups), (relations.projections, groups))
    )
    width, k = read.shape[1] // 2, vectors.shape[1] // 2
    units_Ud = read[:, :width].contiguous()
    gradients = block_gradients(
        units_Ud.index_select(0, ends.inverse_n).view(*blocks.rows.shape, width),
        vectors[:, :k].index_select(0, groups.inverse_n),
        projections[:, : k * width].index_select(0, groups.inverse_n).view(-1, k, width),
        blocks,
        margin=margin,
    )
    gradient_Ud = ends.sum(gradients.entities_nd)
    gradient_Ud -= (gradient_Ud * units_Ud).sum(1, keepdim=True) * units_Ud
    entities.step(ends.rows_U, read, gradient_Ud, lr=rates.vectors, unit=True)
    relations.vectors.step(groups.rows_U, vectors, groups.sum(gradients.relations_Bk), lr=rates.vectors)
    gradient_Ukd = groups.sum(gradients.projections_Bkd.flatten(1))
    relations.projections.step(groups.rows_U, projections, gradient_Ukd, lr=rates.projections)
    return gradients.loss


def block_gradients(
    entities_BXd: torch.Tensor,
    relations_Bk: torch.Tensor,
    projections_Bkd: torch.Tensor,
    blocks: Blocks,
    *,
    margin: float,
) -> BlockGradients:
    """Loss and gradients of some blocks; that of entities is not yet projected onto the sphere's tangent.

    Args:
        entities_BXd: unit vectors of `blocks.rows`.
        relations_Bk: r of each block.
        projections_Bkd: M of each block.
        blocks: which of them are valid, and on which side.
        margin: between a true triple's score and its corruption's.
    """
    size = blocks.valid_BG.shape[1]
    n_negatives = entities_BXd.shape[1] - 2 * size
    projected_BXk = entities_BXd @ projections_Bkd.transpose(1, 2)
    wanted, true, drawn = projected_BXk.split([size, size, n_negatives], dim=1)
    wanted += (blocks.signs_B.unsqueeze(1) * relations_Bk).unsqueeze(1)
    difference = wanted - true
    own_BG = margin + difference.square().sum(-1) - wanted.square().sum(-1)
    drawn_B1C = drawn.square().sum(-1).unsqueeze(1)
    violation_BGC = torch.baddbmm(own_BG.unsqueeze(-1) - drawn_B1C, wanted, drawn.transpose(1, 2), alpha=2)
    active_BGC = (violation_BGC > 0).logical_and_(blocks.valid_BG.unsqueeze(-1)).to(violation_BGC.dtype)
    loss = (violation_BGC * active_BGC).sum()

    per_triple, per_negative = active_BGC.sum(2, keepdim=True), active_BGC.sum(1).unsqueeze(-1)
    gradient_BXk = torch.empty_like(projected_BXk)
    of_wanted, of_true, of_drawn = gradient_BXk.split([size, size, n_negatives], dim=1)
    torch.baddbmm(true * per_triple, active_BGC, drawn, beta=-1, out=of_wanted)
    torch.mul(difference, -per_triple, out=of_true)
    torch.baddbmm(drawn * per_negative, active_BGC.transpose(1, 2), wanted, beta=-1, out=of_drawn)
    gradient_BXk *= 2 / (blocks.n_triples * n_negatives)
    return BlockGradients(
        loss,
        (gradient_BXk @ projections_Bkd).flatten(0, 1),
        blocks.signs_B.unsqueeze(1) * of_wanted.sum(1),
        gradient_BXk.transpose(1, 2) @ entities_BXd,
    )
