"""Parts: every edge in exactly one, halo complete, counts that add up, odd graphs included."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_graphs import graphs, make_kg

from kogner_ray.errors import CheckpointError, ConfigError, DataError
from kogner_ray.kg.partition import PartitionConfig, PartitionMeta, assign_parts, read_meta, read_part, write_partitions
from kogner_ray.kg.tables import KnowledgeGraph, read_kg, with_reverse

Method = Literal["metis", "random"]


def check_parts(kg: KnowledgeGraph, folder: Path, meta: PartitionMeta, config: PartitionConfig) -> None:
    expected = with_reverse(kg.triples, len(kg.relations)) if config.add_reverse else kg.triples
    parts = [read_part(folder, index) for index in range(meta.n_parts)]

    triples = np.concatenate([part.triples for part in parts])
    assert sorted(map(tuple, triples.tolist())) == sorted(map(tuple, expected.tolist()))
    edge_rows = np.concatenate([np.asarray(part.edges["edge"]) for part in parts])
    assert sorted(edge_rows.tolist()) == sorted(np.tile(np.arange(kg.n_edges), 1 + config.add_reverse).tolist())

    owner: dict[int, int] = {}
    for part in parts:
        own, halo = part.rows[: part.n_own], part.rows[part.n_own :]
        assert len(own) > 0
        assert np.asarray(part.nodes["halo"]).tolist() == [False] * len(own) + [True] * len(halo)
        assert not owner.keys() & set(own.tolist())
        owner |= dict.fromkeys(own.tolist(), part.index)
        heads, tails = set(part.triples[:, 0].tolist()), set(part.triples[:, 2].tolist())
        assert tails <= set(own.tolist())
        assert sorted(halo.tolist()) == sorted(heads - set(own.tolist()))
        assert part.nodes["id"].to_pylist() == [kg.ids[row] for row in part.rows]
        assert part.nodes["type"].to_pylist() == [kg.types[kg.node_types[row]] for row in part.rows]
        local = part.local_triples()
        assert np.array_equal(part.rows[local[:, 0]], part.triples[:, 0])
        assert np.array_equal(part.rows[local[:, 2]], part.triples[:, 2])
    assert sorted(owner) == list(range(kg.n_nodes))

    assert meta.nodes == [part.n_own for part in parts]
    assert meta.halo == [part.nodes.num_rows - part.n_own for part in parts]
    assert meta.edges == [part.edges.num_rows for part in parts]
    assert (meta.n_nodes, meta.n_edges) == (kg.n_nodes, len(expected))
    cut = [owner[int(head)] != owner[int(tail)] for head, _, tail in expected]
    assert meta.edge_cut == pytest.approx(np.mean(cut) if cut else 0.0)
    assert read_meta(folder) == meta


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kg=graphs(), n_parts=st.integers(1, 6), method=st.sampled_from(["metis", "random"]), add_reverse=st.booleans())
def test_parts_of_any_graph(
    kg: KnowledgeGraph, n_parts: int, method: Method, add_reverse: bool, tmp_path: Path
) -> None:
    config = PartitionConfig(n_parts=min(n_parts, kg.n_nodes), method=method, add_reverse=add_reverse)
    check_parts(kg, tmp_path / "parts", write_partitions(kg, tmp_path / "parts", config), config)


@pytest.mark.parametrize("balance_edges", [True, False])
@pytest.mark.parametrize("n_parts", [1, 2, 7, 12])
@pytest.mark.parametrize(
    "edges",
    [
        [],
        [(0, "r", 0)],
        [(0, "r", 1)] * 5,
        [(0, "r", node) for node in range(12)],
        [(node, "r", node + 1) for node in range(11)],
    ],
    ids=["none", "loop", "parallel", "star", "chain"],
)
def test_metis_on_odd_graphs(edges: list[tuple[int, str, int]], n_parts: int, balance_edges: bool) -> None:
    kg = make_kg(["Gene"] * 12, edges)
    parts = assign_parts(kg.triples, 12, PartitionConfig(n_parts=n_parts, balance_edges=balance_edges))
    assert parts.shape == (12,) and set(parts.tolist()) == set(range(n_parts))


def test_metis_cuts_between_communities() -> None:
    cliques = [(10 * c + a, "r", 10 * c + b) for c in range(4) for a in range(10) for b in range(10) if a != b]
    bridges = [(0, "r", 10), (10, "r", 20), (20, "r", 30)]
    kg = make_kg(["Gene"] * 40, cliques + bridges)
    parts = assign_parts(kg.triples, 40, PartitionConfig(n_parts=4))
    assert [len(set(parts[10 * c : 10 * c + 10].tolist())) for c in range(4)] == [1, 1, 1, 1]
    assert len(set(parts.tolist())) == 4


def test_random_parts_are_seeded_and_even() -> None:
    kg = make_kg(["Gene"] * 10, [(0, "r", 1)])
    first, again, other = (
        assign_parts(kg.triples, 10, PartitionConfig(n_parts=3, method="random", seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert sorted(np.bincount(first).tolist()) == [3, 3, 4]


def test_more_parts_than_nodes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"at most one part a node \(2\), got 3"):
        write_partitions(make_kg(["Gene"] * 2, []), tmp_path / "parts", PartitionConfig(n_parts=3))
    assert not (tmp_path / "parts").exists()


def test_an_empty_graph_has_one_empty_part(tmp_path: Path) -> None:
    meta = write_partitions(make_kg([], []), tmp_path / "parts", PartitionConfig(n_parts=1))
    assert (meta.nodes, meta.edges, read_part(tmp_path / "parts", 0).triples.shape) == ([0], [0], (0, 3))


def test_writing_again_replaces_the_parts(tmp_path: Path) -> None:
    kg = make_kg(["Gene"] * 8, [(node, "r", (node + 1) % 8) for node in range(8)])
    write_partitions(kg, tmp_path / "parts", PartitionConfig(n_parts=4))
    write_partitions(kg, tmp_path / "parts", PartitionConfig(n_parts=2))
    assert sorted(entry.name for entry in (tmp_path / "parts").iterdir()) == ["meta.json", "part-00000", "part-00001"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["parts"]


def test_an_unwritable_place_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(CheckpointError, match="could not be written"):
        write_partitions(make_kg(["Gene"], []), tmp_path / "file" / "parts", PartitionConfig(n_parts=1))
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_reading_what_is_no_part(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"meta\.json: not the meta\.json"):
        read_meta(tmp_path)
    with pytest.raises(DataError, match="part-00003: not a complete part"):
        read_part(tmp_path, 3)


@pytest.mark.parametrize("method", ["metis", "random"])
def test_real_parts(shared: Path, tmp_path: Path, method: Method) -> None:
    kg = read_kg(shared / "data/kg/hetionet")
    config = PartitionConfig(n_parts=4, method=method)
    meta = write_partitions(kg, tmp_path / "parts", config)
    assert sum(meta.edges) == kg.n_edges and sum(meta.nodes) == kg.n_nodes
    assert meta.edge_cut < 0.65 if method == "metis" else meta.edge_cut > 0.7
    assert meta.node_balance < 1.1 and meta.edge_balance < 1.5
    edges = np.concatenate([np.asarray(read_part(tmp_path / "parts", index).edges["edge"]) for index in range(4)])
    assert np.array_equal(np.sort(edges), np.arange(kg.n_edges))
