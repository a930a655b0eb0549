"""Linear layers that train fast on a CPU.

There, forward and backward products are oneDNN's: the BLAS behind `torch.nn.Linear` uses the widest vectors on some
makers' machines only, and takes two and a half times as long where it does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Linear(nn.Linear):
    """`torch.nn.Linear`, its parameters and its results, by other kernels where there are faster ones."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """input: (M, n_in); returns (M, n_out)."""
        fast = input.device.type == "cpu" and input.dtype == torch.float32 and torch.backends.mkldnn.is_available()
        if not fast or not len(input):
            return super().forward(input)
        out: torch.Tensor = _Affine.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return out


class _Affine(torch.autograd.Function):
    """`x Wᵀ + b`."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(context: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        x, weight = context.saved_tensors
        slope = slope.contiguous()
        into_x = _product(slope, weight.T) if context.needs_input_grad[0] else None
        return into_x, _product(slope.T, x.T), slope.sum(0)


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out
