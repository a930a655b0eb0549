"""Small knowledge graphs."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, KnowledgeGraph


def make_kg(types: list[str], edges: list[tuple[int, str, int]]) -> KnowledgeGraph:
    """A graph with nodes n0, n1, ... of `types` and edges by node number."""
    nodes = [
        {"id": f"n{row}", "name": f"name {row}", "type": type, "synonyms": [], "description": ""}
        for row, type in enumerate(types)
    ]
    rows = [{"head": f"n{head}", "relation": relation, "tail": f"n{tail}"} for head, relation, tail in edges]
    return KnowledgeGraph(
        pa.Table.from_pylist(nodes, schema=NODE_SCHEMA), pa.Table.from_pylist(rows, schema=EDGE_SCHEMA)
    )


@st.composite
def graphs(draw: st.DrawFn) -> KnowledgeGraph:
    """Up to 20 nodes of 3 types; loops, isolated nodes and parallel edges included, also no edge at all."""
    types = draw(st.lists(st.sampled_from(["Gene", "Disease", "Drug"]), min_size=1, max_size=20))
    node = st.integers(0, len(types) - 1)
    return make_kg(types, draw(st.lists(st.tuples(node, st.sampled_from("rst"), node), max_size=40)))
