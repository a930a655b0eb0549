"""Parts read through Ray Data are the parts on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kogner_ray.errors import DataError
from kogner_ray.kg.formats import triples
from kogner_ray.kg.partition import PartitionConfig, read_meta, read_part, write_partitions
from kogner_ray.kg.tables import KnowledgeGraph

TYPES = ["Disease", "Drug", "Gene"]


@pytest.fixture(scope="module")
def kg(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeGraph:
    rows = np.random.default_rng(0).integers(0, [60, 3, 60], size=(300, 3))
    lines = [f"{TYPES[h % 3]}::{h}\tr{r}\t{TYPES[t % 3]}::{t}" for h, r, t in rows]
    path = tmp_path_factory.mktemp("kg") / "edges.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return triples.read(path)[0]


@pytest.fixture(scope="module")
def parts(kg: KnowledgeGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "parts"
    write_partitions(kg, folder, PartitionConfig(n_parts=3))
    return folder


@pytest.mark.usefixtures("ray_cluster")
def test_one_row_a_part(kg: KnowledgeGraph, parts: Path) -> None:
    from kogner_ray.train.partitions import read_partitions

    rows = {row["part"]: row for row in read_partitions(parts).take_all()}
    assert sorted(rows) == [0, 1, 2]
    for index, row in rows.items():
        part = read_part(parts, index)
        assert np.array_equal(row["node"], part.rows)
        assert np.array_equal(row["halo"], np.asarray(part.nodes["halo"]))
        assert np.array_equal(row["type"], kg.node_types[part.rows])
        assert np.array_equal(np.stack([row[name] for name in ("head", "relation", "tail")], axis=1), part.triples)


@pytest.mark.usefixtures("ray_cluster")
def test_every_edge_once(kg: KnowledgeGraph, parts: Path) -> None:
    from kogner_ray.train.partitions import read_edges

    dataset = read_edges(parts).materialize()
    assert dataset.num_blocks() == 3
    rows = dataset.take_all()
    assert sorted(row["edge"] for row in rows) == list(range(kg.n_edges))
    assert all(kg.triples[row["edge"]].tolist() == [row["head"], row["relation"], row["tail"]] for row in rows)
    assert [sum(row["part"] == index for row in rows) for index in range(3)] == read_meta(parts).edges


@pytest.mark.usefixtures("ray_cluster")
def test_a_folder_without_parts_is_refused(tmp_path: Path) -> None:
    from kogner_ray.train.partitions import read_partitions

    with pytest.raises(DataError, match="not the meta"):
        read_partitions(tmp_path)
