"""Our linear layer and attention against torch's own arithmetic, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kogner_ray.teacher.attention import attend_in_runs
from kogner_ray.teacher.dense import Linear


@pytest.mark.parametrize("n_rows", [0, 1, 70])
def test_a_linear_layer_is_torchs(n_rows: int) -> None:
    torch.manual_seed(0)
    ours, theirs = Linear(24, 40), nn.Linear(24, 40)
    theirs.load_state_dict(ours.state_dict())
    rows = torch.randn(n_rows, 24)
    results = []
    for layer in (ours, theirs):
        x = rows.clone().requires_grad_()
        out = layer(x)
        (out * out.detach().cos()).sum().backward()
        results.append([out, x.grad, layer.weight.grad, layer.bias.grad])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


RUNS = ((1, 3), (2, 1), (5, 2))  # 6 nodes, 15 edges


def attend_one_by_one(query: torch.Tensor, message: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    out, edge = [], 0
    sizes = [size for size, count in RUNS for _ in range(count)]
    for node, size in enumerate(sizes):
        own = slice(edge, edge + size)
        weights = torch.softmax(query[node] @ message[own].T + bias[own].T, dim=-1)
        out.append(weights @ message[own])
        edge += size
    return torch.stack(out)


def test_attention_in_runs_is_attention_node_by_node() -> None:
    torch.manual_seed(0)
    shapes = ((6, 2, 8), (15, 8), (15, 2))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    torch.testing.assert_close(attend_in_runs(*inputs, RUNS), attend_one_by_one(*inputs))
    assert torch.autograd.gradcheck(lambda *x: attend_in_runs(*x, RUNS), inputs)


def test_attention_survives_large_scores() -> None:
    query, message = torch.full((1, 1, 1), 1000.0), torch.tensor([[1.0], [1.001], [-5.0]])
    out = attend_in_runs(query, message, torch.zeros(3, 1), ((3, 1),))
    torch.testing.assert_close(out.flatten(), torch.tensor([0.2689414 * 1 + 0.7310586 * 1.001]), rtol=1e-4, atol=0)


def test_attention_over_nothing() -> None:
    none = attend_in_runs(torch.zeros(0, 2, 4), torch.zeros(0, 4), torch.zeros(0, 2), ())
    assert none.shape == (0, 2, 4)
