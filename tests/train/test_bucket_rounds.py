from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kogner_ray.kg.buckets import pairs_of
from kogner_ray.train.bucket_rounds import bucket_rounds, parts_needed


@given(workers=st.integers(1, 5), groups=st.integers(1, 4))
def test_every_pair_is_visited_once_and_no_part_is_with_two_workers(workers: int, groups: int) -> None:
    n_parts = 2 * workers * groups
    rounds = bucket_rounds(n_parts, workers=workers)
    assert sorted(pair for pairs in rounds for pair in pairs) == pairs_of(n_parts)
    for pairs in rounds:
        assert len(pairs) == workers
        assert len({part for pair in pairs for part in pair}) == 2 * workers


def test_a_graph_in_one_part_is_one_bucket() -> None:
    assert bucket_rounds(1, workers=1) == [[(0, 0)]]


@pytest.mark.parametrize("n_parts", [2, 4, 10])
def test_one_worker_swaps_one_part_a_bucket(n_parts: int) -> None:
    pairs = [pair for (pair,) in bucket_rounds(n_parts, workers=1)]
    assert all(len(set(before) & set(after)) == 1 for before, after in zip(pairs, pairs[1:], strict=False))


@given(n_nodes=st.integers(0, 10**7), half=st.integers(1, 10**6), workers=st.integers(1, 8))
def test_two_parts_fit_into_a_bucket(n_nodes: int, half: int, workers: int) -> None:
    n_parts = parts_needed(n_nodes, bucket_nodes=2 * half, workers=workers)
    capacity = -(-n_nodes // n_parts)
    assert min(n_parts, 2) * capacity <= 2 * half
    assert (n_parts == 1) == (workers == 1 and n_nodes <= 2 * half)
    assert n_parts == 1 or n_parts % (2 * workers) == 0
