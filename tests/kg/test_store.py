"""DGL graphs hold exactly the KG's nodes and edges."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from small_graphs import graphs, make_kg

from kogner_ray.errors import DataError
from kogner_ray.kg.store import heterograph, typed_graph
from kogner_ray.kg.tables import KnowledgeGraph, read_kg, with_reverse


@settings(deadline=None)
@given(graphs())
def test_typed_graph_holds_every_edge_both_ways(kg: KnowledgeGraph) -> None:
    typed = typed_graph(kg)
    sources, targets = typed.graph.edges(order="eid")
    found = list(zip(sources.tolist(), typed.graph.edata["relation"].tolist(), targets.tolist(), strict=True))
    n_relations = len(kg.relations)
    forward = [tuple(triple) for triple in kg.triples.tolist()]
    assert found == forward + [(tail, relation + n_relations, head) for head, relation, tail in forward]
    assert typed.n_relations == 2 * n_relations
    assert typed.relations == (*kg.relations, *(f"reverse {name}" for name in kg.relations))
    assert typed.graph.ndata["type"].tolist() == kg.node_types.tolist()


@settings(deadline=None)
@given(graphs())
def test_typed_graph_without_reverse(kg: KnowledgeGraph) -> None:
    typed = typed_graph(kg, add_reverse=False)
    assert (typed.graph.num_nodes(), typed.graph.num_edges()) == (kg.n_nodes, kg.n_edges)
    assert typed.relations == tuple(kg.relations)


@settings(deadline=None)
@given(graphs().filter(lambda kg: kg.n_edges > 0))
def test_heterograph_holds_every_edge_once(kg: KnowledgeGraph) -> None:
    graph = heterograph(kg)
    found: Counter[tuple[str, str, str]] = Counter()
    edge_rows = []
    for head_type, relation, tail_type in graph.canonical_etypes:
        heads, tails = graph.edges(etype=(head_type, relation, tail_type))
        head_rows = graph.nodes[head_type].data["row"][heads].tolist()
        tail_rows = graph.nodes[tail_type].data["row"][tails].tolist()
        assert {kg.types[kg.node_types[row]] for row in head_rows} == {head_type}
        assert {kg.types[kg.node_types[row]] for row in tail_rows} == {tail_type}
        found.update((kg.ids[h], relation, kg.ids[t]) for h, t in zip(head_rows, tail_rows, strict=True))
        edge_rows += graph.edges[head_type, relation, tail_type].data["row"].tolist()
    assert found == Counter(tuple(row.values()) for row in kg.edges.to_pylist())
    assert sorted(edge_rows) == list(range(kg.n_edges))
    assert sorted(row for name in graph.ntypes for row in graph.nodes[name].data["row"].tolist()) == list(
        range(kg.n_nodes)
    )


def test_no_edges() -> None:
    kg = make_kg(["Gene", "Drug"], [])
    assert typed_graph(kg).graph.num_nodes() == 2
    with pytest.raises(DataError, match="has no edges"):
        heterograph(kg)


def test_odd_type_and_relation_names() -> None:
    kg = make_kg(["Side Effect", "Gène::β", "42"], [(0, "Gr>G", 1), (1, "r/.%: →", 2), (2, "", 2)])
    graph = heterograph(kg)
    found = {("Side Effect", "Gr>G", "Gène::β"), ("Gène::β", "r/.%: →", "42"), ("42", "", "42")}
    assert set(graph.canonical_etypes) == found


def test_reverse_of_nothing_is_nothing() -> None:
    assert with_reverse(make_kg(["Gene"], []).triples, 0).shape == (0, 3)


def test_real_heterograph(shared: Path) -> None:
    kg = read_kg(shared / "data/kg/hetionet")
    graph = heterograph(kg)
    assert (len(graph.ntypes), len(graph.canonical_etypes)) == (11, 24)
    assert (graph.num_nodes(), graph.num_edges()) == (kg.n_nodes, kg.n_edges)
    assert graph.num_edges(("Compound", "treats", "Disease")) == sum(
        metaedge == "CtD" for metaedge in kg.edges["metaedge"].to_pylist()
    )
