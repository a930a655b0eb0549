"""Products in int8: near the exact ones, and none of their sums overflows."""

from __future__ import annotations

import pytest
import torch

from kogner_ray.student import int8
from kogner_ray.student.dense import Dense
from kogner_ray.student.fast import _int8_logits, _logits
from kogner_ray.student.int8 import Int8Product, extent, quantised
from kogner_ray.student.spans import SpanHalves


@pytest.mark.parametrize("largest", [255, 127])
@pytest.mark.parametrize("shift", [-2.0, 0.0, 5.0])
def test_products_are_within_the_steps_of_their_codes(
    largest: int, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "_LARGEST", largest)
    torch.manual_seed(0)
    x, weight, bias = torch.rand(64, 96) + shift, torch.randn(48, 96), torch.randn(48)
    product = Int8Product(weight, bias)(x)
    low, high = extent(x)
    steps_of_x = (high - low) / largest * weight.abs().sum(1) / 2
    steps_of_weight = x.abs().sum(1, keepdim=True) * weight.abs().amax(1) / 127 / 2
    assert ((product - (x @ weight.T + bias)).abs() <= steps_of_x + steps_of_weight + 1e-3).all()


@pytest.mark.parametrize("x", [torch.zeros(3, 4), torch.tensor([[-3.0, 1.0]]), torch.tensor([[0.5, 7.0]])])
def test_codes_hold_nought_exactly_and_all_else_to_half_a_step(x: torch.Tensor) -> None:
    codes = quantised(x, *extent(x))
    back = (codes.values.float() - codes.zero) * codes.scale
    assert ((back - x).abs() <= codes.scale / 2 + 1e-6).all()
    assert (back[x == 0] == 0).all()


def test_the_residual_is_added_in_full_precision() -> None:
    torch.manual_seed(0)
    x, residual = torch.randn(2, 5, 32), 1000 * torch.randn(2, 5, 16)
    product = Int8Product(torch.randn(16, 32), torch.randn(16))
    torch.testing.assert_close(product(x, residual), product(x) + residual)


def test_bf16_is_the_same_rounded() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(16, 32), torch.randn(40, 32)
    in_bf16 = Int8Product(weight, None, gives=torch.bfloat16)(x)
    assert in_bf16.dtype == torch.bfloat16
    torch.testing.assert_close(in_bf16.float(), Int8Product(weight, None)(x), rtol=0.01, atol=0.01)


def test_each_span_is_scored_from_its_own_halves() -> None:
    torch.manual_seed(0)
    n_widths, halves = 4, SpanHalves(torch.randn(35, 64), torch.randn(35, 64))
    weight, bias = torch.randn(3, 64), torch.randn(3)
    exact = _logits(Dense(weight, None, precision="fp32"), bias, n_widths, halves)
    found = _int8_logits(Int8Product(weight, None), bias, n_widths, halves)
    assert found.shape == exact.shape == (n_widths, 32, 3)
    assert exact.std() > 4
    torch.testing.assert_close(found, exact, atol=0.6, rtol=0)
