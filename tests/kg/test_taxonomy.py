"""The hierarchy that `is_a` edges make."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from kogner_ray.errors import DataError
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, KnowledgeGraph
from kogner_ray.kg.taxonomy import Taxonomy

NAMES = ("disease", "cancer", "lung cancer", "adenoma", "drug", "")
IS_A = [("n1", "n0"), ("n2", "n1"), ("n2", "n0"), ("n3", "n1"), ("n0", "n3"), ("n4", "n4")]


def graph() -> KnowledgeGraph:
    nodes = [
        {"id": f"n{row}", "name": name, "type": "Disease", "synonyms": [], "description": None}
        for row, name in enumerate(NAMES)
    ]
    edges = [{"head": head, "relation": "is_a", "tail": tail} for head, tail in IS_A]
    edges.append({"head": "n4", "relation": "treats", "tail": "n1"})
    return KnowledgeGraph(pa.Table.from_pylist(nodes, NODE_SCHEMA), pa.Table.from_pylist(edges, EDGE_SCHEMA))


def test_ancestors_are_all_that_a_node_is_a_kind_of_also_round_a_cycle(tmp_path: Path) -> None:
    taxonomy = Taxonomy.read(graph().write(tmp_path), ("is_a",))
    assert taxonomy.ancestors(2) == {0, 1, 3}
    assert taxonomy.ancestors(0) == {1, 3}  # adenoma, cancer, disease are a cycle
    assert taxonomy.ancestors(4) == set()  # neither itself nor what it treats
    assert taxonomy.members([2, 3, 4]) == {0: 2, 1: 2, 3: 1}
    assert taxonomy.names([4, 5, 1]) == ["drug", "cancer"]


def test_other_relations_and_a_folder_without_tables(tmp_path: Path) -> None:
    kg = graph()
    assert Taxonomy.of(kg.nodes, kg.edges, ("treats",)).ancestors(4) == {1}
    with pytest.raises(DataError, match="nodes.parquet"):
        Taxonomy.read(tmp_path, ("is_a",))
