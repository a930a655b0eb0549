from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kogner_ray.errors import CheckpointError, DataError
from kogner_ray.kg import buckets as module
from kogner_ray.kg.buckets import Buckets, pairs_of, write_buckets

N, R, T = 40, 5, 3


def draw(seed: int, n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Triples over half of the nodes, and the types of all."""
    rng = np.random.default_rng(seed)
    triples = np.stack([rng.integers(0, N // 2, n), rng.integers(0, R, n), rng.integers(0, N // 2, n)], axis=1)
    return np.unique(triples, axis=0), rng.integers(0, T, N)


def cut(folder: Path, triples: np.ndarray, types: np.ndarray, *, n_parts: int, seed: int = 0) -> Buckets:
    return write_buckets(triples, folder, n_parts=n_parts, n_relations=R, node_types=types, seed=seed)


def in_kg_rows(buckets: Buckets, index: int) -> np.ndarray:
    """A bucket's triples with the KG's own node rows."""
    places = np.full(2 * buckets.meta.capacity, -1)
    for start, part in zip((0, buckets.meta.capacity), dict.fromkeys(buckets.pairs[index]), strict=False):
        nodes = buckets.part(part)
        places[start : start + len(nodes)] = nodes
    triples = buckets.of(index).astype(np.int64)
    triples[:, [0, 2]] = places[triples[:, [0, 2]]]
    return triples


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), n_parts=st.integers(1, 9), chunk=st.sampled_from([7, 1000]))
def test_every_triple_is_in_one_bucket(seed: int, n_parts: int, chunk: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    triples, types = draw(seed)
    buckets = cut(tmp_path / "buckets", triples, types, n_parts=n_parts)
    assert buckets.pairs == pairs_of(n_parts)
    parts = np.full(N, -1)
    for part in range(n_parts):
        parts[buckets.part(part)] = part
    found = []
    for index, pair in enumerate(buckets.pairs):
        there = in_kg_rows(buckets, index)
        assert np.isin(parts[there[:, [0, 2]]], pair).all()
        assert (np.diff(there[:, 1]) >= 0).all()
        found.append(there)
    np.testing.assert_array_equal(sorted(np.concatenate(found).tolist()), triples.tolist())


def test_parts_have_their_share_of_each_type_and_linked_nodes_alone(tmp_path: Path) -> None:
    triples, types = draw(1)
    buckets = cut(tmp_path / "buckets", triples, types, n_parts=4)
    linked = np.unique(triples[:, [0, 2]])
    np.testing.assert_array_equal(np.sort(buckets.nodes), linked)
    for kind in range(T):
        per_part = [np.flatnonzero(types[buckets.part(part)] == kind) for part in range(4)]
        assert max(map(len, per_part)) - min(map(len, per_part)) <= 1
        for part, rows in enumerate(per_part):
            np.testing.assert_array_equal(rows, np.arange(*buckets.ranges[part, kind : kind + 2]))
    sizes = buckets.ranges[:, -1]
    assert sizes.max() == buckets.meta.capacity
    assert sizes.max() - sizes.min() <= 1


def test_triples_within_a_part_are_shared_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    triples = np.stack([rng.integers(0, N, 1000), rng.integers(0, R, 1000), rng.integers(0, N, 1000)], axis=1)
    buckets = cut(tmp_path / "buckets", triples, np.zeros(N, dtype=np.int64), n_parts=4)
    mean = len(triples) / len(buckets.pairs)
    assert max(buckets.meta.triples) < 1.3 * mean
    assert min(buckets.meta.triples) > 0.7 * mean


def test_the_types_seen_at_each_side(tmp_path: Path) -> None:
    buckets = cut(tmp_path / "buckets", np.array([[0, 1, 2], [3, 1, 2]]), np.array([0, 0, 1, 2]), n_parts=2)
    assert np.argwhere(buckets.sides).tolist() == [[1, 0, 0], [1, 0, 2], [1, 1, 1]]


def test_a_part_may_be_empty_and_an_edge_a_loop(tmp_path: Path) -> None:
    loop = np.array([[2, 3, 2]])
    buckets = cut(tmp_path / "buckets", loop, np.zeros(N, dtype=np.int64), n_parts=4)
    assert buckets.ranges[:, -1].tolist() == [1, 0, 0, 0]
    assert sum(buckets.meta.triples) == 1
    assert np.concatenate([in_kg_rows(buckets, i) for i in range(6)]).tolist() == loop.tolist()


def test_parts_come_from_the_seed(tmp_path: Path) -> None:
    triples, types = draw(3)
    first, again, other = (
        cut(tmp_path / name, triples, types, n_parts=3, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    np.testing.assert_array_equal(first.triples, again.triples)
    assert not np.array_equal(first.nodes, other.nodes)


def test_no_triples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="without triples"):
        cut(tmp_path / "buckets", np.empty((0, 3), dtype=np.int64), np.zeros(N, dtype=np.int64), n_parts=2)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    cut(tmp_path / "buckets", *draw(0), n_parts=2)
    (tmp_path / "buckets" / "ranges.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"buckets: not a complete folder of buckets"):
        Buckets.open(tmp_path / "buckets")


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(CheckpointError, match="nothing written"):
        cut(tmp_path, *draw(0), n_parts=2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
