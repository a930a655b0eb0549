"""Statistics, plots and pages of a graph, and looking a node up."""

from __future__ import annotations

import json
import re
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from small_graphs import graphs, make_kg

from kogner_ray.kg.neighbours import Entries, Neighbourhood, find_nodes
from kogner_ray.kg.plots import draw_statistics, write_page
from kogner_ray.kg.stats import statistics
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, KnowledgeGraph, read_kg

EMPTY = make_kg([], [])
SMALL = make_kg(
    ["Drug", "Gene", "Gene", "Disease"], [(0, "binds", 1), (0, "binds", 2), (1, "interacts", 1), (0, "binds", 1)]
)


def test_a_small_graph() -> None:
    stats = statistics(SMALL)
    assert (stats.nodes, stats.edges, stats.isolated, stats.components, stats.largest_component) == (4, 4, 1, 2, 3)
    assert stats.degree_counts == ((0, 1), (1, 1), (3, 1), (4, 1)) and stats.mean_degree == 2
    assert stats.degree_quantiles == {"50 %": 3, "90 %": 4, "99 %": 4, "largest": 4}
    assert [(hub["id"], hub["degree"]) for hub in stats.hubs] == [("n1", 4), ("n0", 3), ("n2", 1)]
    assert list(stats.types) == ["Gene", "Disease", "Drug"] and stats.types["Gene"].mean_degree == 2.5
    binds, interacts = stats.relations.values()
    assert (binds.edges, binds.heads, binds.tails, binds.loops) == (3, 1, 2, 0)
    assert (interacts.loops, dict(interacts.between)) == (1, {"Gene -> Gene": 1})
    json.dumps(stats.as_dict())


@settings(deadline=None, max_examples=50)
@given(graphs())
def test_components_and_degrees_are_those_of_networkx(kg: KnowledgeGraph) -> None:
    stats = statistics(kg)
    reference = nx.MultiGraph()
    reference.add_nodes_from(range(kg.n_nodes))
    reference.add_edges_from(kg.triples[:, [0, 2]].tolist())
    sizes = [len(component) for component in nx.connected_components(reference)]
    assert (stats.components, stats.largest_component) == (len(sizes), max(sizes))
    values, counts = np.unique([degree for _, degree in reference.degree()], return_counts=True)
    assert stats.degree_counts == tuple(zip(values.tolist(), counts.tolist(), strict=True))
    assert sum(relation.edges for relation in stats.relations.values()) == kg.n_edges


def odd() -> KnowledgeGraph:
    """Types and relations that are markup and formulas, if one lets them."""
    nodes = [{"id": "<b>", "name": '<script>alert("x")</script>', "type": "$x^", "synonyms": ["$"], "description": ""}]
    edges = [{"head": "<b>", "relation": "a & b $\\frac{", "tail": "<b>"}]
    return KnowledgeGraph(pa.Table.from_pylist(nodes, NODE_SCHEMA), pa.Table.from_pylist(edges, EDGE_SCHEMA))


@pytest.mark.parametrize("kg", [SMALL, EMPTY, make_kg(["Gene"], []), odd()], ids=["small", "empty", "edgeless", "odd"])
def test_plots_and_pages(kg: KnowledgeGraph, tmp_path: Path) -> None:
    stats = statistics(kg)
    draw_statistics(stats, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    write_page(stats, tmp_path / "a.html", title="<a>")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3 and "<h1>&lt;a&gt;</h1>" in page
    # everything is inside: nothing is fetched, and no name is markup
    assert not re.search(r"""(?:src|href)=["'](?!data:)|<script|<link|url\(|@import""", page)
    assert f"{kg.n_nodes}</td>" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.png"]


NAMED = KnowledgeGraph(
    pa.Table.from_pylist(
        [
            {"id": "Disease::DOID:1", "name": "Gout", "type": "Disease", "synonyms": ["podagra"], "xrefs": ["MESH:D1"]},
            {"id": "DOID:2", "name": "podagra", "type": "Disease", "synonyms": None, "xrefs": None},
            {"id": "gene 'x'::é", "name": "IL-2", "type": "Gene", "synonyms": ["interleukin 2", "gout"], "xrefs": []},
            {"id": "7", "name": "42", "type": "Gene", "synonyms": [], "xrefs": []},
        ],
        pa.schema([*NODE_SCHEMA, ("xrefs", pa.list_(pa.string()))]),
    ),
    pa.Table.from_pylist(
        [
            {"head": "Disease::DOID:1", "relation": "is_a", "tail": "DOID:2"},
            {"head": "gene 'x'::é", "relation": "causes", "tail": "Disease::DOID:1"},
            {"head": "7", "relation": "causes", "tail": "Disease::DOID:1"},
            {"head": "7", "relation": "binds", "tail": "7"},
        ],
        EDGE_SCHEMA,
    ),
)


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ("Disease::DOID:1", [0]),
        ("doid:1", [0]),
        ("DOID:1", [0]),
        ("MESH:d1", [0]),
        ("gene 'x'::é", [2]),
        ("GOUT", [0]),
        ("podagra", [1]),
        ("il 2", [2]),
        ("Interleukin-2", [2]),
        ("42", [3]),
        ("7", [3]),
        ("", []),
        (".*", []),
        ("nothing", []),
    ],
)
def test_nodes_are_found_by_ids_and_names(wanted: str, rows: list[int]) -> None:
    assert find_nodes(NAMED, wanted) == rows


def test_an_entry_has_its_neighbours_by_relation() -> None:
    entry = Entries(NAMED).entry(0, limit=1)
    assert entry.degree == 3 and entry.node["xrefs"] == ["MESH:D1"]
    seven = {"id": "7", "name": "42", "type": "Gene"}
    assert entry.relations == (
        ("causes", "in", 2, (seven,)),  # the one with the most edges
        ("is_a", "out", 1, ({"id": "DOID:2", "name": "podagra", "type": "Disease"},)),
    )
    assert json.loads(json.dumps(entry.as_dict()))["relations"][0]["count"] == 2


@settings(deadline=None, max_examples=30)
@given(graphs())
def test_neighbours_are_all_edges(kg: KnowledgeGraph) -> None:
    edges = Neighbourhood(kg)
    found = sorted((row, n.relation, n.row) for row in range(kg.n_nodes) for n in edges.of(row) if n.direction == "out")
    back = sorted((n.row, n.relation, row) for row in range(kg.n_nodes) for n in edges.of(row) if n.direction == "in")
    expected = sorted((head, kg.relations[relation], tail) for head, relation, tail in kg.triples.tolist())
    assert found == back == expected


def test_real_statistics(shared: Path) -> None:
    kg = read_kg(shared / "data/kg/hetionet")
    stats = statistics(kg)
    assert (stats.nodes, stats.edges, stats.types["Gene"].nodes) == (47031, 1109558, 20945)
    (gout,) = (row for row in find_nodes(kg, "gout") if kg.nodes["type"][row].as_py() == "Disease")
    assert kg.ids[gout] == "Disease::DOID:13189"
