"""Dropout that costs little on a CPU.

PyTorch draws one random number an element there, which is an eighth of a training step of a small encoder. One random
byte an element is enough: the rate is rounded to 1/256, and the scale of what is kept follows the rounded rate exactly.
"""

from __future__ import annotations

import math

import torch
from torch import nn

_LEVELS = 256


class Dropout(nn.Module):
    """`torch.nn.Dropout` with a rate rounded to 1/256 on a CPU; the same as it elsewhere."""

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
    """0 with probability `p`, else the inverse of the share kept; shape, dtype and device of `like`."""
    n = like.numel()
    level = min(round(p * _LEVELS), _LEVELS - 1)
    # `to=None` draws all 64 bits; the default leaves the sign bit 0, and every eighth byte would be small.
    words = torch.empty(math.ceil(n / 8), dtype=torch.int64, device=like.device).random_(
        torch.iinfo(torch.int64).min, None
    )
    kept = words.view(torch.uint8)[:n].view(like.shape) >= level
    return kept.to(like.dtype).mul_(_LEVELS / (_LEVELS - level))


def replace_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` within `module`."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        else:
            replace_dropout(child)
