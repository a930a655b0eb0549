"""Merging graphs: what is one concept, what is refused, and what becomes of nodes and edges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.kg.concepts import Clusters, ConceptConfig, find_clusters
from kogner_ray.kg.merge import MergeConfig, MergeReport, merge_kgs
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, KnowledgeGraph, check_kg, read_kg
from kogner_ray.kg.unions import vocabulary_id

SCHEMA = pa.schema([*NODE_SCHEMA, ("curie", pa.string()), ("xrefs", pa.list_(pa.string())), ("cluster", pa.string())])


def table(*rows: Sequence[Any]) -> pa.Table:
    """Rows of id, name, type and, as a dict, whatever else."""
    made = []
    for id_, name, type_, *more in rows:
        made.append({"id": id_, "name": name, "type": type_, "synonyms": [], "description": ""} | (more or [{}])[0])
    return pa.Table.from_pylist(made, SCHEMA)


def clusters(nodes: pa.Table, **settings: Any) -> tuple[list[int], Clusters]:
    found = find_clusters(nodes, ConceptConfig(**settings))
    return found.first.tolist(), found


@pytest.mark.parametrize(
    ("concept", "expected"),
    [
        ("Disease::DOID:1", ("doid", "1")),
        ("UMLS_CUI:C01", ("umls", "c01")),
        ("SNOMEDCT_US_2025_09_01:80", ("snomedct", "80")),
        ("MIM:PS267700", ("omim", "ps267700")),
        ("Gene::7", None),
        ("https://x.org/a", None),
        ("", None),
    ],
)
def test_ids_are_compared_as_all_sources_write_them(concept: str, expected: tuple[str, str] | None) -> None:
    assert vocabulary_id(concept) == expected


def test_ids_and_references_join() -> None:
    nodes = table(
        ("Disease::DOID:1", "gout", "Disease"),
        ("X:9", "podagra", "disease", {"curie": "doid:1"}),
        ("MESH:D1", "Gouty", "Unknown", {"xrefs": ["DOID:1"]}),
        ("UMLS:C1", "a", "Symptom", {"xrefs": ["ICD:7"]}),
        ("OMIM:1", "b", "Disease", {"xrefs": ["ICD:7"]}),
    )
    first, found = clusters(nodes, names=False)
    assert first == [0, 0, 0, 3, 3]
    assert found.joined == {"id": 1, "reference": 1, "shared reference": 1} and found.refused == {}
    assert clusters(nodes, names=False, references=False)[0] == [0, 0, 2, 3, 4]


def test_one_vocabulary_does_not_list_a_concept_twice() -> None:
    nodes = table(
        ("DOID:1", "gout", "Disease", {"xrefs": ["MESH:D1"]}),
        ("DOID:2", "gout", "Disease", {"xrefs": ["MESH:D1"]}),
        ("MESH:D1", "gout", "Disease"),
        ("HP:1", "gout", "Phenotype"),
    )
    first, found = clusters(nodes)
    assert first == [0, 1, 2, 3]
    assert found.refused == {"ambiguous reference": 2, "ambiguous name": 2}
    assert found.examples["ambiguous name"] == ["gout: DOID:1, DOID:2"]


def test_references_do_not_chain_what_a_vocabulary_tells_apart() -> None:
    rows = [
        ("DOID:1", "a", "Disease", {"xrefs": ["MESH:D1"]}),
        ("MESH:D1", "b", "Disease", {"xrefs": ["OMIM:1"]}),
        ("OMIM:1", "c", "Disease", {"xrefs": ["DOID:2"]}),
        ("DOID:2", "d", "Disease"),
    ]
    first, found = clusters(table(*rows))
    assert first == [0, 0, 0, 3] and found.refused == {"vocabulary": 1}
    assert found.examples["vocabulary"] == ["reference: DOID:2 d and DOID:1 a"]


def test_names_join_only_compatible_types() -> None:
    nodes = table(
        ("A:1", "Insulin", "Gene"),
        ("B:1", "insulin", "Protein"),
        ("C:1", "insulin", "Chemical"),
        ("D:1", "INSULIN", "Drug"),
        ("E:1", "insulin", "Unknown"),
    )
    assert clusters(nodes)[0] == [0, 0, 2, 2, 4]
    assert clusters(nodes, types="equal")[0] == [0, 1, 2, 3, 4]


def test_ids_of_incompatible_types_are_refused() -> None:
    nodes = table(("A:1", "x", "Gene"), ("B:1", "y", "Disease", {"curie": "A:1"}))
    first, found = clusters(nodes)
    assert first == [0, 1] and found.refused == {"type": 1}


def test_names_that_say_nothing_do_not_join() -> None:
    assert clusters(table(("A:1", "42", "Gene"), ("B:1", "42", "Gene")))[0] == [0, 1]
    assert clusters(table(("A:1", "..", "Gene"), ("B:1", "-", "Gene")))[0] == [0, 1]


def test_synonyms_join_where_no_third_node_has_the_name() -> None:
    rows = [("A:1", "gout", "Disease"), ("B:1", "arthritis urica", "Disease", {"synonyms": ["Gout"]})]
    assert clusters(table(*rows))[0] == [0, 1]
    assert clusters(table(*rows), synonyms=True)[0] == [0, 0]
    third = ("B:2", "podagra", "Disease", {"synonyms": ["gout"]})
    first, found = clusters(table(*rows, third), synonyms=True)
    assert first == [0, 1, 2] and found.refused == {"ambiguous name": 2}


def test_nodes_of_a_graph_without_vocabularies_are_told_apart() -> None:
    nodes = table(("1", "gout", "Disease"), ("2", "gout", "Disease"), ("A:1", "gout", "Disease"))
    assert clusters(nodes)[0] == [0, 1, 2]
    found = find_clusters(nodes, ConceptConfig(), source=[0, 1, 1])
    assert found.first.tolist() == [0, 0, 0]


def test_clusters_of_a_source_are_trusted() -> None:
    nodes = table(("DOID:1", "a", "Disease", {"cluster": "c"}), ("DOID:2", "b", "Disease", {"cluster": "c"}))
    assert clusters(nodes)[0] == [0, 0]


names = st.sampled_from(["gout", "Gout", "pain", "42", "insulin"])
ids = st.tuples(st.sampled_from("ABC"), st.integers(0, 5)).map(lambda pair: f"{pair[0]}:{pair[1]}")


@settings(deadline=None)
@given(st.dictionaries(ids, st.tuples(names, st.sampled_from(["Gene", "Disease"]), st.lists(ids, max_size=3))))
def test_no_cluster_has_two_of_a_vocabulary_or_types_that_differ(rows: dict[str, tuple[str, str, list[str]]]) -> None:
    nodes = table(*((own, name, kind, {"xrefs": xrefs}) for own, (name, kind, xrefs) in rows.items()))
    first, _ = clusters(nodes, synonyms=True)
    groups: dict[int, list[int]] = {}
    for row, root in enumerate(first):
        groups.setdefault(root, []).append(row)
    for root, members in groups.items():
        assert root == min(members)
        own = [nodes["id"][row].as_py()[0] for row in members]
        assert len(set(own)) == len(own)
        assert len({nodes["type"][row].as_py() for row in members}) == 1


EDGES = [("A:1", "treats", "A:2"), ("A:2", "like", "A:2")]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    first = table(
        ("A:1", "Allopurinol", "Drug", {"xrefs": ["X:1"], "synonyms": ["Zyloric"]}),
        ("A:2", "gout", "Disease"),
        ("S:1", "shared", "Gene"),
        ("N:1", "other kind", "Gene"),
    )
    second = table(
        ("B:1", "allopurinol", "Chemical", {"description": "a drug", "synonyms": ["zyloric", "Alopurinol"]}),
        ("B:2", "Gout", "Disease"),
        ("S:1", "shared again", "Protein", {"synonyms": ["s"]}),
        ("N:1", "no gene", "Disease"),
    ).drop_columns("cluster")
    edges = [("B:1", "treats", "B:2"), ("B:1", "treats", "A:9"), ("B:2", "resembles", "A:9"), ("N:1", "is", "S:1")]
    other = KnowledgeGraph(second, edge_table([*edges[:1], edges[3], ("B:1", "like", "B:1")]))
    folders = (tmp_path / "one", tmp_path / "two")
    KnowledgeGraph(first, edge_table(EDGES)).write(folders[0])
    other.write(folders[1])
    return folders


def edge_table(edges: Sequence[tuple[str, str, str]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(EDGE_SCHEMA.names, edge, strict=True)) for edge in edges], EDGE_SCHEMA)


def merged(folders: tuple[Path, ...], **settings: Any) -> tuple[KnowledgeGraph, MergeReport]:
    output = folders[0].parent / "merged"
    report = merge_kgs(MergeConfig(sources=folders, output=output, **settings))
    kg = read_kg(output)
    check_kg(kg)
    assert json.loads((output / "report.json").read_text(encoding="utf-8"))["nodes"] == kg.n_nodes == report.nodes
    return kg, report


def test_merging_gives_nodes_of_a_concept_one_cluster(two: tuple[Path, Path]) -> None:
    kg, report = merged(two)
    rows = kg.nodes.to_pylist()
    assert [(row["id"], row["cluster"], row["kg"], row["degree"]) for row in rows] == [
        ("A:1", "A:1", ["one"], 1),
        ("A:2", "A:2", ["one"], 3),
        ("S:1", "S:1", ["one", "two"], 1),
        ("N:1", "N:1", ["one"], 0),
        ("B:1", "A:1", ["two"], 3),
        ("B:2", "A:2", ["two"], 1),
        ("two/N:1", "two/N:1", ["two"], 1),
    ]
    assert rows[2]["synonyms"] == ["shared again", "s"]
    assert kg.edges.to_pylist()[3] == {"head": "two/N:1", "relation": "is", "tail": "S:1", "kg": "two"}
    assert (report.same_ids, report.renamed, report.sizes) == (2, 1, {"1": 3, "2": 2})
    assert (report.joined, report.repeated_edges, report.inner_edges) == ({"name": 2}, 0, 0)
    assert report.examples["name"] == ["A:1 Allopurinol = B:1 allopurinol", "A:2 gout = B:2 Gout"]


def test_collapsing_makes_one_node_of_a_cluster(two: tuple[Path, Path]) -> None:
    kg, report = merged(two, collapse=True)
    drug = kg.nodes.to_pylist()[0]
    assert drug == {
        "id": "A:1",
        "name": "Allopurinol",
        "type": "Drug",
        "synonyms": ["Zyloric", "allopurinol", "zyloric", "Alopurinol"],
        "description": "a drug",
        "curie": None,
        "xrefs": ["X:1", "B:1"],
        "kg": ["one", "two"],
        "cluster": "A:1",
        "degree": 3,
    }
    assert [tuple(edge.values()) for edge in kg.edges.to_pylist()] == [
        ("A:1", "treats", "A:2", "one"),
        ("A:2", "like", "A:2", "one"),
        ("two/N:1", "is", "S:1", "two"),
        ("A:1", "like", "A:1", "two"),  # a loop of the graph itself stays
    ]
    assert (report.repeated_edges, report.inner_edges, report.nodes) == (1, 0, 5)


def test_edges_within_a_concept_go(tmp_path: Path) -> None:
    nodes = table(("A:1", "gout", "Disease"), ("B:1", "podagra", "Disease"))
    KnowledgeGraph(nodes, edge_table([("A:1", "exact_match", "B:1"), ("A:1", "is_a", "B:1")])).write(tmp_path / "a")
    kg, report = merged((tmp_path / "a",), collapse=True)
    assert (kg.n_nodes, kg.n_edges, report.inner_edges, report.joined) == (1, 0, 2, {"reference": 1})


def test_merging_again_changes_nothing(two: tuple[Path, Path]) -> None:
    once, _ = merged(two, collapse=True)
    again = merge_kgs(MergeConfig(sources=(two[0].parent / "merged",), output=two[0].parent / "again", collapse=True))
    assert (again.nodes, again.edges, again.joined) == (once.n_nodes, once.n_edges, {})
    twice = merge_kgs(MergeConfig(sources=(two[0], two[0]), output=two[0].parent / "again", collapse=True))
    assert (twice.nodes, twice.edges, twice.same_ids) == (4, 2, 4)


def test_a_source_is_never_overwritten(two: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="holds a graph that is to be merged"):
        merge_kgs(MergeConfig(sources=two, output=two[1]))
    (two[0].parent / "mine").mkdir()
    (two[0].parent / "mine" / "thesis").write_text("x", encoding="utf-8")
    with pytest.raises(CheckpointError, match="expected a new or empty folder"):
        merge_kgs(MergeConfig(sources=two, output=two[0].parent / "mine"))


def test_real_merge(shared: Path, mirror: Path, tmp_path: Path) -> None:
    (ontology,) = mirror.glob("DiseaseOntology/*/*/src/ontology/subsets/DO_rare_slim.obo")
    report = merge_kgs(MergeConfig(sources=(shared / "data/kg/hetionet", ontology), output=tmp_path / "kg"))
    assert report.nodes == 47031 + 3458 and report.joined["id"] == 54
    kg = read_kg(tmp_path / "kg")
    pairs = dict(zip(kg.ids, kg.nodes["cluster"].to_pylist(), strict=True))
    assert pairs["DOID:0050156"] == "Disease::DOID:0050156"
