from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kogner_ray.teacher.blocks import Blocks
from kogner_ray.teacher.rows import AdagradRows
from kogner_ray.teacher.transr import TransR
from kogner_ray.teacher.transr_step import Rates, Relations, train_step

N, R, B, G, C = 40, 5, 7, 4, 6
RATES = Rates(vectors=0.1, projections=0.02)
MARGIN = 0.7


@pytest.fixture
def model() -> TransR:
    """Square-free shapes and random projections, so that a transposed matrix shows."""
    model = TransR(n_entities=N, n_relations=R, entity_dim=7, relation_dim=5, seed=3)
    torch.nn.init.normal_(model.projections, generator=torch.Generator().manual_seed(4), std=0.4)
    return model


@pytest.fixture
def blocks() -> Blocks:
    """Relations and rows that repeat within and between blocks, and padding."""
    generator = torch.Generator().manual_seed(0)
    valid = torch.rand(B, G, generator=generator) < 0.7
    rows = torch.randint(N, (B, 2 * G + C), generator=generator)
    signs = torch.tensor([1.0, -1.0]).repeat(B)[:B]
    return Blocks(torch.randint(R, (B,), generator=generator), rows, signs, valid)


def reference_loss(model: TransR, blocks: Blocks) -> torch.Tensor:
    """The sum over pairs, from plain scores of whole triples."""
    total = torch.zeros(())
    fields = (blocks.relations_B, blocks.rows, blocks.signs_B, blocks.valid_BG)
    for relation, rows, sign, valid in zip(*(field.tolist() for field in fields), strict=True):
        for kept, true, real in zip(rows[:G], rows[G : 2 * G], valid, strict=True):
            ends = [true, *rows[2 * G :]]
            triples = [[kept, relation, end] if sign > 0 else [end, relation, kept] for end in ends]
            scores = model.score(torch.tensor(triples))
            total = total + real * F.relu(MARGIN - scores[0] + scores[1:]).sum()
    return total


def tables(model: TransR) -> tuple[AdagradRows, Relations]:
    return AdagradRows.of(model.entities.weight.detach()), Relations.of(model)


def test_a_step_is_autograds_with_torchs_adagrad(model: TransR, blocks: Blocks) -> None:
    entities, relations = tables(model)
    groups = [
        {"params": [model.entities.weight, model.relations], "lr": RATES.vectors},
        {"params": [model.projections], "lr": RATES.projections},
    ]
    optimiser = torch.optim.Adagrad(groups)
    for _ in range(3):
        optimiser.zero_grad()
        expected = reference_loss(model, blocks)
        (expected / (blocks.n_triples * C)).backward()
        optimiser.step()
        touched = torch.unique(blocks.rows)
        with torch.no_grad():
            model.entities.weight[touched] = F.normalize(model.entities.weight[touched], dim=1)
        loss = train_step(entities, relations, blocks, margin=MARGIN, rates=RATES)
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(entities.weights, model.entities.weight.data, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(relations.vectors.weights, model.relations.data, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        relations.projections.weights.view(R, 5, 7), model.projections.data, rtol=1e-3, atol=1e-4
    )


def test_a_step_is_the_same_bit_by_bit() -> None:
    """Many rows that repeat, so that sums in the order of the threads would show."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(300, (64, 2 * 32 + 16), generator=generator)
    signs = torch.where(torch.rand(64, generator=generator) < 0.5, 1.0, -1.0)
    blocks = Blocks(torch.randint(4, (64,), generator=generator), rows, signs, torch.ones(64, 32, dtype=torch.bool))

    def trained() -> list[torch.Tensor]:
        entities, relations = tables(TransR(n_entities=300, n_relations=4))
        for _ in range(3):
            train_step(entities, relations, blocks, margin=1.0, rates=RATES)
        return [entities.table, relations.vectors.table, relations.projections.table]

    first = trained()
    for _ in range(4):
        assert all(torch.equal(one, other) for one, other in zip(first, trained(), strict=True))


def test_padding_teaches_nothing(model: TransR, blocks: Blocks) -> None:
    entities, relations = tables(model)
    padding = Blocks(blocks.relations_B, blocks.rows, blocks.signs_B, torch.zeros_like(blocks.valid_BG))
    before = entities.table.clone(), relations.projections.table.clone()
    padding.valid_BG[0, 0] = True  # all of one block but a triple
    only = Blocks(blocks.relations_B[:1], blocks.rows[:1], blocks.signs_B[:1], padding.valid_BG[:1])
    alone = tables(model)
    losses = (
        train_step(entities, relations, padding, margin=MARGIN, rates=RATES),
        train_step(*alone, only, margin=MARGIN, rates=RATES),
    )
    assert losses[0] == pytest.approx(losses[1].item(), rel=1e-5)
    torch.testing.assert_close(entities.table, alone[0].table)
    assert not torch.equal(entities.table, before[0])
    others = [r for r in range(R) if r != blocks.relations_B[0]]
    assert torch.equal(relations.projections.table[others], before[1][others])
