"""Linear layers ready for inference: packed once, in the arithmetic that was asked for, with what follows fused in.

On a CPU they are oneDNN's, which uses the widest vectors that the machine has; the BLAS behind `torch.nn.Linear` does
so on some makers' machines only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from kogner_ray.errors import ConfigError
from kogner_ray.student.int8 import Int8Product

Precision = Literal["fp32", "bf16", "int8"]
"""Arithmetic of the matrix products; int8 is dynamic: weights a row, activations a tensor, all else in fp32."""

Activation = Literal["none", "relu", "gelu"]

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda x: x,
    "relu": functional.relu,
    "gelu": functional.gelu,
}


def dtype_of(precision: Precision) -> torch.dtype:
    """What flows between the layers."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise `ConfigError` where `device` has no kernels for `precision`."""
    if precision not in ("fp32", "bf16", "int8"):
        raise ConfigError(f"precision: expected fp32, bf16 or int8, got {precision!r}")
    if precision == "int8" and device.type != "cpu":
        raise ConfigError(f"precision: int8 is for CPUs; on {device.type} use bf16")


class Dense(nn.Module):
    """`activation(x Wᵀ + b) + residual` with constant weights."""

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *,
        precision: Precision,
        activation: Activation = "none",
        int8_gives: torch.dtype = torch.float32,
    ) -> None:
        """`weight`: (n_out, n_in); `int8_gives`: dtype of an int8 product's result."""
        super().__init__()
        self._activation = activation
        dtype = dtype_of(precision)
        plain = weight.detach().to(dtype).contiguous()
        self._bias = None if bias is None else bias.detach().to(dtype).contiguous()
        self._packed: Any = None
        self._int8: Int8Product | None = None
        if precision == "int8":
            self._int8 = Int8Product(plain, self._bias, activation=activation, gives=int8_gives)
        elif weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
            self._packed = torch.ops.mkldnn._reorder_linear_weight(plain)
        self._weight = plain if precision != "int8" and self._packed is None else plain.new_empty(0)

    @classmethod
    def of(cls, linear: nn.Linear, *, precision: Precision, activation: Activation = "none") -> Dense:
        """The same layer as `linear`."""
        return cls(linear.weight, linear.bias, precision=precision, activation=activation)

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x: (..., n_in); residual: (..., n_out), added last."""
        if self._int8 is not None and (residual is None or self._activation == "none"):
            return self._int8(x, residual)
        if self._int8 is not None:
            out = self._int8(x)
        elif self._packed is None:
            out = _ACTIVATIONS[self._activation](functional.linear(x, self._weight, self._bias))
        elif residual is not None and self._activation == "none":
            product = torch.ops.mkldnn._linear_pointwise.binary
            return product(x, residual, self._packed, self._bias, "add")  # type: ignore[no-any-return]
        else:
            out = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, self._activation, [], "none")
        return out if residual is None else out.add_(residual)
