"""Cheap dropout is dropout: right rate, right expectation, seeded, off in evaluation."""

import pytest
import torch
from torch import nn

from kogner_ray.student.dropout import Dropout, keep_mask, replace_dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rate_and_expectation(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = Dropout(p)(torch.ones(1000, 1001, dtype=dtype))
    assert (values == 0).float().mean().item() == pytest.approx(p, abs=0.003)
    assert values.float().mean().item() == pytest.approx(1.0, abs=0.005)


def test_every_element_is_dropped_at_the_rate_and_without_its_neighbours() -> None:
    torch.manual_seed(0)
    dropped = torch.stack([keep_mask(torch.empty(8), 0.3) == 0 for _ in range(20_000)]).float()
    assert dropped.mean(0).tolist() == pytest.approx([0.3] * 8, abs=0.015)
    assert torch.corrcoef(dropped.T).fill_diagonal_(0).abs().max() < 0.04
    assert torch.corrcoef(torch.stack([dropped[1:, 0], dropped[:-1, 0]]))[0, 1].abs() < 0.04


def test_masks_beyond_the_shortest_sequence() -> None:
    mask = keep_mask(torch.empty(5_000_000), 0.25)
    assert mask.shape == (5_000_000,)
    assert (mask == 0).float().mean().item() == pytest.approx(0.25, abs=0.002)
    assert mask.max().item() == pytest.approx(1 / 0.75)


def test_seeded_and_off_in_evaluation() -> None:
    layer, values = Dropout(0.3), torch.ones(50)
    torch.manual_seed(1)
    first = layer(values)
    torch.manual_seed(1)
    assert torch.equal(first, layer(values))
    assert torch.equal(layer.eval()(values), values)


def test_replaces_nested_layers_only_of_its_kind() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.2), nn.ReLU()))
    replace_dropout(module)
    assert isinstance(module[1][0], Dropout)
    assert module[1][0].p == 0.2
    assert isinstance(module[1][1], nn.ReLU)
