"""Dropout that costs little on a CPU.

PyTorch draws one random number an element there, which is an eighth of a training step of a small encoder. Here the
masks are windows into a long fixed sequence of random bits, each at a place drawn anew: what an element meets is
random and of the right rate, and all that is drawn is one number a mask.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn

_SHORTEST = 1 << 22


class Dropout(nn.Module):
    """`torch.nn.Dropout`, with masks of `keep_mask` on a CPU."""

    def __init__(self, p: float) -> None:
        """`p`: share of elements set to zero in training."""
        super().__init__()
        self.p = p

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`values` with some elements zero and the others scaled up; in evaluation, `values`."""
        if not self.training or self.p == 0:
            return values
        if values.device.type != "cpu":
            return nn.functional.dropout(values, self.p)
        return values * keep_mask(values, self.p)


def keep_mask(like: torch.Tensor, p: float) -> torch.Tensor:
    """0 with probability `p`, else 1 / (1 - p); shape, dtype and device of `like`. Not to be written to."""
    n = like.numel()
    size = max(_SHORTEST, 1 << (2 * n).bit_length())
    start = int(torch.randint(size - n + 1, ()))
    return _sequence(size, p, like.dtype, like.device)[start : start + n].view(like.shape)


def replace_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` within `module`."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        else:
            replace_dropout(child)


@lru_cache(maxsize=8)
def _sequence(size: int, p: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    # Seeded by itself: a run that starts again finds the same one.
    kept = torch.rand(size, generator=torch.Generator().manual_seed(size)) >= p
    return kept.to(device=device, dtype=dtype) / (1 - p)
