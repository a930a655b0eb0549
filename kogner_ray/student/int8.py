"""Products in int8: weights quantised a row once, activations a tensor each time, sums in int32.

Codes are unsigned for activations and signed for weights, which is what CPUs multiply four at a time (VNNI). Without
VNNI they add pairs of products in 16 bits, so that activations are given 7 bits there, not 8.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch

_LARGEST = 255 if torch.cpu._is_vnni_supported() else 127


class Int8Product:
    """`activation(x Wᵀ + b) + residual` with W in int8."""

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *,
        activation: str = "none",
        gives: torch.dtype = torch.float32,
    ) -> None:
        """`weight`: (n_out, n_in) in fp32; `activation`: none, relu or gelu; `gives`: dtype of the result."""
        self._bias, self._activation, self._gives = bias, activation, gives
        self._n_out = weight.shape[0]
        self._scales = weight.abs().amax(1).clamp(min=1e-8) / 127
        self._zeros = torch.zeros(self._n_out, dtype=torch.int32)
        codes = (weight / self._scales[:, None]).round().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(codes, None)
        with warnings.catch_warnings():  # said once a process: that quantised tensors are to go one day
            warnings.simplefilter("ignore", UserWarning)
            quantised(weight, *extent(weight))

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x: (..., n_in) in fp32; residual: (..., n_out) in fp32, for a product without activation."""
        codes = quantised(x.reshape(-1, x.shape[-1]), *extent(x))
        return self.of_codes(codes, residual).view(*x.shape[:-1], self._n_out)

    def of_codes(self, codes: Codes, residual: torch.Tensor | None = None) -> torch.Tensor:
        """The same of codes (N, n_in)."""
        operands = (*codes, self._packed, self._scales, self._zeros)
        product = torch.ops.onednn.qlinear_pointwise
        if residual is None:
            out: torch.Tensor = product(*operands, self._bias, 1.0, 0, self._gives, self._activation, [], "none")
            return out
        added = residual.reshape(-1, self._n_out)
        after: tuple[object, ...] = (1.0, 0, "add", 1.0, "none", [], "none")
        summed: torch.Tensor = product.binary(*operands, added, self._bias, 1.0, 0, self._gives, *after)
        return summed


class Codes(NamedTuple):
    """Numbers as `scale · (values − zero)`; 0 is exactly one of them.

    Attributes:
        values: uint8.
        scale: above 0.
        zero: the code of 0.
    """

    values: torch.Tensor
    scale: float
    zero: int


def extent(*tensors: torch.Tensor) -> tuple[float, float]:
    """The least and the greatest of all numbers, and of 0."""
    bounds = [float(bound) for x in tensors for bound in x.aminmax()]
    return min(0.0, *bounds), max(0.0, *bounds)


def quantised(x: torch.Tensor, low: float, high: float) -> Codes:
    """Codes of numbers in `low .. high`, fp32."""
    scale = max((high - low) / _LARGEST, 1e-12)
    zero = min(_LARGEST, max(0, round(-low / scale)))
    as_torch = torch.quantize_per_tensor(x, scale, zero, torch.quint8)
    # `int_repr` copies an element at a time; these are the same bytes.
    values = torch.empty(0, dtype=torch.uint8).set_(as_torch.untyped_storage(), 0, x.shape, as_torch.stride())
    return Codes(values, scale, zero)
