from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.teacher.rows import AdagradRows, Distinct


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 2**31), min_size=1, max_size=50))
def test_distinct_is_numpys_unique(rows: list[int]) -> None:
    asked = torch.tensor(rows)
    distinct = Distinct.of(asked)
    expected, inverse = np.unique(asked.numpy(), return_inverse=True)
    np.testing.assert_array_equal(distinct.rows_U, expected)
    np.testing.assert_array_equal(distinct.inverse_n, inverse)
    values = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(0))
    sums = torch.zeros(len(expected), 3).index_add_(0, torch.from_numpy(inverse), values)
    torch.testing.assert_close(distinct.sum(values), sums)


def test_steps_are_those_of_torchs_adagrad() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(20, 6, generator=generator)
    parameter = torch.nn.Parameter(weights.clone())
    optimiser, rows = torch.optim.Adagrad([parameter], lr=0.1), AdagradRows.of(weights)
    for _ in range(5):
        asked = torch.randint(20, (12,), generator=generator)
        gradients = torch.randn(12, 6, generator=generator)
        parameter.grad = torch.zeros_like(parameter).index_add_(0, asked, gradients)
        optimiser.step()
        distinct = Distinct.of(asked)
        rows.step(distinct.rows_U, rows.read(distinct.rows_U), distinct.sum(gradients), lr=0.1)
    torch.testing.assert_close(rows.weights, parameter.data)
    torch.testing.assert_close(rows.table[:, 6:], optimiser.state[parameter]["sum"])


def test_rows_go_back_to_the_sphere_and_others_stay() -> None:
    rows = AdagradRows.of(torch.ones(4, 5))
    touched = torch.tensor([1, 3])
    rows.step(touched, rows.read(touched), torch.ones(2, 5), lr=0.3, unit=True)
    torch.testing.assert_close(rows.weights[touched].norm(dim=1), torch.ones(2))
    assert torch.equal(rows.weights[[0, 2]], torch.ones(2, 5))
    assert not rows.table[[0, 2], 5:].any()
