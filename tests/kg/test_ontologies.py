"""OBO and RDF: what becomes of terms, synonyms, references and relations, and what is refused or counted."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kogner_ray.errors import DataError
from kogner_ray.kg.formats import obo, rdf, read_any
from kogner_ray.kg.formats.ontology import OntologyConfig
from kogner_ray.kg.tables import check_kg

OBO = """format-version: 1.2
default-namespace: disease_ontology

[Term]
id: DOID:1 ! a comment
name: gout
alt_id: DOID:100
def: "A \\"painful\\" arthritis." [PMID:1]
synonym: "podagra" EXACT []
synonym: "gouty arthritis" RELATED []
synonym: "arthritis" BROAD []
xref: MESH:D006073
xref: url:https\\://gout.org "about" {source="x"}
is_a: DOID:2 {source="y"} ! disease
relationship: RO:0001 CHEBI:3 ! caused by urate
intersection_of: DOID:2
intersection_of: RO:0001 CHEBI:3

[Term]
id: DOID:2
name: disease
is_a: DOID:100

[Term]
id: CHEBI:3
name: urate
namespace: chebi_ontology

[Term]
id: DOID:9
name: obsolete gout
is_a: DOID:2
is_obsolete: true
replaced_by: DOID:8

[Term]
id: DOID:8
name: old gout
is_obsolete: true
replaced_by: DOID:100

[Typedef]
id: RO:0001
name: caused by

[Instance]
id: x:1
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes, str], Path]:
    def write(content: str | bytes, name: str = "a.obo") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_obo_terms_become_nodes_and_relationships_edges(written: Callable[..., Path]) -> None:
    path = written(OBO)
    kg, report = read_any(path, strict=True)
    check_kg(kg)
    gout, disease, urate = kg.nodes.to_pylist()
    assert gout == {
        "id": "DOID:1",
        "name": "gout",
        "type": "Disease",
        "synonyms": ["podagra", "gouty arthritis"],
        "description": 'A "painful" arthritis.',
        "synonym_scopes": ["EXACT", "RELATED"],
        "xrefs": ["DOID:100", "DOID:9", "DOID:8", "MESH:D006073", "url:https://gout.org"],
    }
    assert (disease["type"], urate["type"]) == ("Disease", "Chemical")
    assert [tuple(edge.values()) for edge in kg.edges.to_pylist()] == [
        ("DOID:1", "is_a", "DOID:2", "is_a"),
        ("DOID:1", "caused by", "CHEBI:3", "RO:0001"),
        ("DOID:2", "is_a", "DOID:1", "is_a"),
    ]
    assert {issue.kind: (issue.action, issue.count) for issue in report.issues} == {
        "clause intersection_of": ("not used", 2),
        "stanza '[Instance]'": ("not used", 1),
        "obsolete term": ("not used", 2),
        "BROAD synonym": ("not used", 1),
        "edge of an obsolete term": ("not used", 1),
        "edge by another id of a term": ("kept", 1),
        "cyclic hierarchy": ("kept", 2),
    }
    (cyclic,) = (issue for issue in report.issues if issue.kind == "cyclic hierarchy")
    assert cyclic.first[0] == f"{path}:14: head 'DOID:1'"


def test_scopes_and_types_are_settings(written: Callable[..., Path]) -> None:
    config = OntologyConfig(scopes=("BROAD",), types={"disease_ontology": "Illness", "CHEBI": "Drug"})
    kg, _ = obo.read(written(OBO), ontology=config)
    assert kg.nodes["synonyms"][0].as_py() == ["arthritis"]
    assert kg.nodes["type"].to_pylist() == ["Illness", "Illness", "Drug"]


MALFORMED = """format-version: 1.2

[Term]
id: A:1
name: one
xref: http://x.org/a\\:b
is_a A:2
synonym: "x" EXAKT []
synonym: "kept" EXACT []

[Term]
name: nameless

[Term]
id: A b
name: two

[Foo]
id: x
"""


def test_one_malformed_clause_does_not_stop_the_others(written: Callable[..., Path]) -> None:
    path = written(MALFORMED)
    kg, report = obo.read(path)
    assert kg.nodes.select(["id", "name", "synonyms"]).to_pylist() == [
        {"id": "A:1", "name": "one", "synonyms": ["kept"]}
    ]
    found = {issue.kind: (issue.count, [first.split(": ")[0] for first in issue.first]) for issue in report.issues}
    assert found["malformed clause"] == (4, [f"{path}:{line}" for line in (6, 7, 8)])
    assert found["stanza without an id"] == (1, [f"{path}:11"])
    assert found["stanza '[Foo]'"] == (1, [f"{path}:18"])
    with pytest.raises(DataError, match=r"a\.obo:6: malformed clause: 'xref: http.*expected"):
        obo.read(path, strict=True)


ODD = '[Term]\nid: http://x.y/z?q="é::1"\nname: 42\nis_a: A\\ b\\:c:1\n\n[Term]\nid: A\\ b\\:c:1\nname: 1e5 "μ" ::\n'


def test_odd_ids_and_names_that_are_numbers(written: Callable[..., Path]) -> None:
    kg, report = obo.read(written("ontology: x\n" + ODD.replace('"é::1"', "é::1")))
    assert kg.ids == ["http://x.y/z?q=é::1", "A b:c:1"]
    assert kg.nodes["name"].to_pylist() == ["42", '1e5 "μ" ::']
    assert kg.types == ["A b", "Unknown"] and report.count("unknown node type") == 1
    assert kg.n_edges == 1


@pytest.mark.parametrize("reader", [obo.read, rdf.read])
@pytest.mark.parametrize("damage", ["truncated", "latin"])
def test_damaged_files_are_refused(written: Callable[..., Path], reader: Callable[..., object], damage: str) -> None:
    triples = '<http://a/{}> <http://www.w3.org/2000/01/rdf-schema#label> "gout é" .\n'
    stanza = "[Term]\nid: A:{}\nname: gout é\n\n"
    name, line = ("a.obo", stanza) if reader is obo.read else ("a.nt", triples)
    text = ("" if name == "a.nt" else "format-version: 1.2\n\n") + "".join(map(line.format, range(2000)))
    packed = gzip.compress(text.encode())
    content = packed[: len(packed) // 2] if damage == "truncated" else text.encode("latin-1")
    expected = "whole gzip stream" if damage == "truncated" else r":(1|5): .*UTF-8"
    with pytest.raises(DataError, match=expected):
        reader(written(content, f"{name}.gz" if damage == "truncated" else name))


@pytest.mark.parametrize(
    ("content", "message"),
    [("<html>\n", r"a\.obo:1: expected an OBO file"), ("{\n", r"a\.obo:1: expected an OBO file")],
)
def test_what_is_no_obo_is_refused(written: Callable[..., Path], content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        obo.read(written(content))


def test_an_empty_obo_file_is_refused(written: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"a\.obo:1: expected an OBO file, found an empty one"):
        obo.read(written(""))


def test_a_stanza_of_very_many_synonyms(written: Callable[..., Path]) -> None:
    # One of them is malformed: reading clause by clause must be linear, too.
    synonyms = "".join(f'synonym: "s{number}" EXACT []\n' for number in range(20_000))
    content = f'format-version: 1.2\n\n[Term]\nid: A:1\nname: a\n{synonyms}synonym: "x" EXAKT []\n'
    started = time.process_time()
    kg, report = obo.read(written(content))
    seconds = time.process_time() - started
    assert len(kg.nodes["synonyms"][0].as_py()) == 20_000 and report.count("malformed clause") == 1
    assert seconds < 20  # one second here; parsing the stanza again for each clause takes hours


@pytest.mark.parametrize(
    ("name", "nodes", "edges", "malformed"),
    [("DO_rare_slim.obo", 3458, 1609, 0), ("general_cell_types_upper_slim.obo", 713, 1723, 1)],
)
def test_real_obo(mirror: Path, name: str, nodes: int, edges: int, malformed: int) -> None:
    (path,) = mirror.glob(f"*/*/*/src/ontology/subsets/{name}")
    kg, report = read_any(path)
    check_kg(kg)
    assert (kg.n_nodes, kg.n_edges, report.count("malformed clause")) == (nodes, edges, malformed)
    if not malformed:
        assert kg.types == ["Disease"] and report.count("obsolete term") == 2
        row = kg.ids.index("DOID:0050026")
        assert kg.nodes["xrefs"][row].as_py() == ["DOID:14091", "GARD:72"]
        assert kg.nodes["synonym_scopes"][row].as_py() == ["RELATED"]
    else:
        assert "capable of" in kg.relations and {"Cell", "Anatomy", "Protein"} <= set(kg.types)


TURTLE = """@prefix obo: <http://purl.obolibrary.org/obo/> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> . @prefix in: <http://www.geneontology.org/formats/oboInOwl#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix ex: <http://ex.org/> .
obo:DOID_1 a owl:Class ; rdfs:label "gout"@en, "Gicht"@de ; skos:altLabel "podagra" ; in:hasBroadSynonym "arthritis" ;
    rdfs:subClassOf obo:DOID_2, [ a owl:Restriction ; owl:onProperty ex:treated_by ] ; in:hasDbXref "MESH:D006073" ;
    skos:exactMatch ex:gout ; in:hasAlternativeId "DOID:100" ; rdfs:comment "a comment" ; obo:IAO_0000115 "painful" ;
    ex:weight 3 .
obo:DOID_2 a owl:Class ; rdfs:label "disease" ; rdfs:subClassOf obo:DOID_1 ; ex:treated_by ex:d1, ex:nowhere .
ex:d1 a ex:Drug, ex:Thing ; rdfs:label "allopurinol" .
ex:d2 a ex:Drug .
ex:Drug a owl:Class ; rdfs:label "Drug" .
ex:treated_by a owl:ObjectProperty ; rdfs:label "treated by" .
obo:DOID_9 rdfs:label "old" ; owl:deprecated true ; obo:IAO_0100001 obo:DOID_1 .
"""


def test_rdf_resources_become_nodes_and_properties_edges(written: Callable[..., Path]) -> None:
    kg, report = read_any(written(TURTLE, "a.ttl"))
    check_kg(kg)
    assert kg.nodes.to_pylist()[0] == {
        "id": "DOID:1",
        "name": "gout",
        "type": "Disease",
        "synonyms": ["podagra"],
        "description": "painful",
        "synonym_scopes": ["EXACT"],
        "xrefs": ["DOID:100", "DOID:9", "MESH:D006073", "http://ex.org/gout"],
    }
    assert kg.nodes.select(["id", "name", "type"]).to_pylist()[2:] == [
        {"id": "http://ex.org/d1", "name": "allopurinol", "type": "Drug"},
        {"id": "http://ex.org/d2", "name": "d2", "type": "Drug"},
    ]
    assert [(e["head"], e["relation"], e["tail"]) for e in kg.edges.to_pylist()] == [
        ("DOID:1", "is_a", "DOID:2"),
        ("DOID:2", "is_a", "DOID:1"),
        ("DOID:2", "treated by", "http://ex.org/d1"),
    ]
    assert {issue.kind: issue.count for issue in report.issues} == {
        "text in another language": 1,
        "statement of a blank node": 3,
        "literal of another property": 1,
        "more than one type": 1,
        "class or property of the schema": 2,
        "obsolete term": 1,
        "BROAD synonym": 1,
        "dangling edge (tail is no node)": 1,
        "cyclic hierarchy": 2,
    }


def test_rdf_languages_and_prefixes_are_settings(written: Callable[..., Path]) -> None:
    config = OntologyConfig(language="de", prefixes={"EX": "http://ex.org/"}, types={"EX": "Thing"})
    kg, report = rdf.read(written(TURTLE, "a.ttl"), ontology=config)
    assert kg.nodes["name"][0].as_py() == "Gicht" and kg.ids[2:] == ["EX:d1", "EX:d2"]
    assert kg.nodes["type"].to_pylist()[2:] == ["Thing", "Thing"]
    assert report.count("text in another language") == 1


def test_n_triples_without_labels_are_plain_triples(written: Callable[..., Path]) -> None:
    content = b"<http://a/x> <http://p/likes> <http://a/y> .\n# c\n\n<http://a/y> <http://p/likes> <http://a/y#z z> .\n"
    kg, _ = rdf.read(written(gzip.compress(content.replace(b" z>", b"%20z>")), "a.nt.gz"))
    assert kg.ids == ["http://a/x", "http://a/y", "http://a/y#z%20z"] and kg.relations == ["likes"]
    assert kg.nodes["name"].to_pylist() == ["x", "y", "z%20z"] and kg.types == ["Unknown"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("<http://a> <http://p> <http://b> .\n<http://a> <p q> .\n", "a.nt", r"a\.nt:2: malformed N-Triples"),
        ("hello\n", "a.ttl", r"a\.ttl:1: malformed Turtle"),
        ("", "a.nt", r"a\.nt:1: expected RDF, found nothing"),
        ("<rdf", "a.owl", r"a\.owl: malformed RDF/XML"),
    ],
)
def test_malformed_rdf_is_refused_by_line(written: Callable[..., Path], content: str, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_any(written(content, name))
