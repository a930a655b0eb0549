from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.teacher.blocks import Blocks, BlockSampler, RowPools

N, R = 30, 4
EVERYONE = RowPools(np.array([[0, N]]), np.ones((R, 2, 1), dtype=bool))


def triples_of(seed: int, *, n: int = 120) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.integers(0, N, n), rng.integers(0, R - 1, n), rng.integers(0, N, n)], axis=1)
    once = [[3, R - 1, 3]]  # a loop, of a relation that is seen once
    return np.concatenate([drawn[np.argsort(drawn[:, 1], kind="stable")], once])


def sampler_of(triples: np.ndarray, *, probability: float = 0.5, block: int = 8, negatives: int = 5) -> BlockSampler:
    return BlockSampler(triples, EVERYONE, torch.full((R,), probability), block=block, negatives=negatives)


def epoch(sampler: BlockSampler, *, seed: int = 0, batch_size: int = 24) -> list[Blocks]:
    return list(sampler.batches(batch_size=batch_size, generator=torch.Generator().manual_seed(seed)))


def as_triples(blocks: Blocks) -> list[list[int]]:
    """The true triples of some blocks."""
    size = blocks.valid_BG.shape[1]
    found = []
    for relation, rows, sign, valid in zip(
        blocks.relations_B, blocks.rows, blocks.signs_B, blocks.valid_BG, strict=True
    ):
        for kept, true in zip(rows[:size][valid].tolist(), rows[size : 2 * size][valid].tolist(), strict=True):
            found.append([kept, int(relation), true] if sign > 0 else [true, int(relation), kept])
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), block=st.integers(1, 64), batch_size=st.integers(1, 200))
def test_an_epoch_has_every_triple_once(seed: int, block: int, batch_size: int) -> None:
    triples, sampler = triples_of(seed), sampler_of(triples_of(seed), block=block)
    batches = epoch(sampler, seed=seed, batch_size=batch_size)
    assert max(blocks.n_triples for blocks in batches) <= max(batch_size, sampler.block)
    assert sum(blocks.n_triples for blocks in batches) == len(triples)
    assert sorted(triple for blocks in batches for triple in as_triples(blocks)) == sorted(triples.tolist())


def test_epochs_differ_and_come_from_the_seed() -> None:
    sampler = sampler_of(triples_of(0))
    first, again, other = (torch.cat([b.rows.flatten() for b in epoch(sampler, seed=seed)]) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_relations_with_few_triples_do_not_make_blocks_of_padding() -> None:
    few = np.stack([np.arange(20), np.arange(20), np.arange(20)], axis=1)
    pools = RowPools(np.array([[0, N]]), np.ones((20, 2, 1), dtype=bool))
    sampler = BlockSampler(few, pools, torch.full((20,), 0.5), block=64, negatives=2)
    assert sampler.block == 1
    assert sampler_of(triples_of(0, n=2000), block=64).block == 64


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_the_side_is_drawn_with_its_probability(probability: float) -> None:
    sampler = sampler_of(triples_of(0, n=4000), probability=probability, block=1, negatives=1)
    signs = torch.cat([blocks.signs_B for blocks in epoch(sampler, batch_size=1000)])
    assert (signs < 0).float().mean() == pytest.approx(probability, abs=0.03)


def test_draws_are_uniform_over_what_is_allowed() -> None:
    stretches = np.array([[0, 4], [10, 10], [20, 22], [25, 30]])
    allowed = np.zeros((2, 2, 4), dtype=bool)
    allowed[0, 0, [0, 1, 2]] = allowed[1, 1, 3] = allowed[0, 1, 0] = allowed[1, 0, 0] = True
    pools = RowPools(stretches, allowed)
    asked = torch.tensor([0, 1]), torch.tensor([0, 1])
    drawn = pools.draw(*asked, 30_000, torch.Generator().manual_seed(0))
    for row, expected in zip(drawn, ([0, 1, 2, 3, 20, 21], [25, 26, 27, 28, 29]), strict=True):
        values, counts = torch.unique(row, return_counts=True)
        assert values.tolist() == expected
        assert counts.float() == pytest.approx(len(row) / len(expected), rel=0.05)
