"""The plan of batches: each example once an epoch, seeded, the same for every number of workers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kogner_ray.train.plan import epoch_batches, share

lengths_strategy = st.lists(st.integers(1, 510), max_size=200).map(lambda found: np.array(found, dtype=np.int64))


@given(lengths=lengths_strategy, batch_size=st.integers(1, 32), seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_every_example_once_an_epoch(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(lengths, batch_size=batch_size, seed=seed, epoch=epoch)
    assert sorted(np.concatenate([np.zeros(0, dtype=int), *batches])) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert all(0 < len(batch) <= batch_size for batch in batches)


@given(
    n_examples=st.integers(1, 70),
    world_size=st.integers(1, 5),
    n_micro=st.integers(1, 4),
    batch_size=st.integers(1, 32),
)
def test_shares_are_disjoint_and_complete(n_examples: int, world_size: int, n_micro: int, batch_size: int) -> None:
    lengths = np.arange(n_examples) % 7
    for batch in epoch_batches(lengths, batch_size=batch_size, seed=3, epoch=1):
        shares = [list(share(batch, rank=r, world_size=world_size, n_micro=n_micro)) for r in range(world_size)]
        assert [len(micro) for micro in shares] == [n_micro] * world_size  # every rank joins every all-reduce
        assert sorted(np.concatenate([rows for micro in shares for rows in micro])) == sorted(batch)
        sizes = [sum(map(len, micro)) for micro in shares]
        assert max(sizes) - min(sizes) <= 1


def test_seed_and_epoch_make_the_order() -> None:
    lengths = np.random.default_rng(0).integers(5, 200, 300)

    def plan(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in epoch_batches(lengths, batch_size=8, seed=seed, epoch=epoch)]

    assert plan(0, 0) == plan(0, 0)
    assert plan(0, 0) != plan(0, 1)
    assert plan(0, 0) != plan(1, 0)


def test_batches_hold_examples_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 500, 2000)

    def padding(batches: list[np.ndarray]) -> float:
        return sum(len(b) * int(lengths[b].max()) for b in batches) / int(lengths.sum()) - 1

    bucketed = epoch_batches(lengths, batch_size=16, seed=0, epoch=0)
    shuffled = np.array_split(np.random.default_rng(0).permutation(2000), 125)
    assert padding(bucketed) < 0.05 < 0.5 < padding(shuffled)
    longest = [int(lengths[batch].max()) for batch in bucketed]
    assert longest != sorted(longest)  # but the batches themselves come in any order
