"""Mentions to entity rows, on a small table where every answer is known."""

from __future__ import annotations

import pickle
import sys
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.data.spans import Document, Entity
from kogner_ray.kg.coverage import coverage
from kogner_ray.kg.linking import Link, Linker, LinkerConfig, count_concepts, types_alike
from kogner_ray.kg.names import KeyIndex, normalise_name

ROWS = [
    # id, name, type, synonyms, curie, cluster, degree
    ("Disease::DOID:1438", "Heart Failure", "Disease", ["cardiac failure", "HF"], "DOID:1438", "", 3),
    ("MESH:D006333", "heart failure", "Disease", ["HF"], "MESH:D006333", "c1", 9),
    ("Compound::DB00945", "Aspirin", "Compound", ["acetylsalicylic acid", "ASA"], "DRUGBANK:DB00945", "", 5),
    ("Gene::5743", "PTGS2", "Gene", ["COX-2", "cold"], "NCBIGene:5743", "", 7),
    ("D003139", "Common Cold", "Disease", ["cold"], None, "c1", 1),
    ("Gene::1438", "CSF2RA", "Gene", None, "NCBIGene:1438", "", 0),
    ("hydrofluoride", "HF", "Compound", [], None, "", 2),
    ("MESH:D015160", "Hydrops Fetalis", "Disease", ["HF"], None, "", 4),
    ("NCBIGene:60", "ACTB", "Gene", [], None, "", 1),
    ("NCBIGene:11461", "Actb", "Gene", [], None, "", 6),
    ("UMLS:C0018801", "Heart Failure", "Side Effect", [], None, "", 99),
]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    names = ("id", "name", "type", "synonyms", "curie", "cluster", "degree")
    return pa.table(dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True)))


@pytest.fixture(scope="module")
def linker(table: pa.Table) -> Linker:
    return Linker.from_table(table)


def mention(type: str, text: str, *concepts: str) -> Document:
    return Document("d", text, (Entity(0, len(text), type, concepts),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heart-Failure", "heart failure"),
        ("  heart \t failure\n", "heart failure"),
        ("IL\u20112", "il 2"),
        ("beta\u2013blocker", "beta blocker"),
        ("(aspirin).", "aspirin"),
        ("Ca2+", "ca2+"),
        ("ﬁbrosis", "fibrosis"),
        ("STRASSE", normalise_name("straße")),
        ("\ufeffTNF", "tnf"),
        ("...", ""),
        ("42", "42"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise_name(text) == expected


@settings(deadline=None)
@given(st.text(max_size=30))
def test_normalise_is_idempotent(text: str) -> None:
    assert normalise_name(normalise_name(text)) == normalise_name(text)


def test_ascii_and_unicode_paths_agree() -> None:
    for code in range(128):
        text = f"a{chr(code)}B"
        assert normalise_name(text) == normalise_name(text + "\u0301").removesuffix("\u0301").replace("b\u0301", "b")
    assert all(normalise_name(chr(code)).isprintable() for code in range(128))


def test_normalise_every_character_once_is_enough() -> None:
    assigned = (chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cn", "Co"))
    unstable = [text for text in assigned if normalise_name(normalise_name(text)) != normalise_name(text)]
    assert unstable == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 1)), max_size=30))
def test_key_index_finds_what_a_dict_would(pairs: list[tuple[str, int, int]]) -> None:
    index = KeyIndex.build(pairs)
    for key in "abcde":
        best: dict[int, int] = {}
        for other, row, kind in pairs:
            if other == key:
                best[row] = min(kind, best.get(row, kind))
        assert index.find(key) == sorted(best.items(), key=lambda pair: (pair[1], pair[0]))


@pytest.mark.parametrize(
    ("type", "text", "concept", "row"),
    [
        ("Disease", "x", "Disease::DOID:1438", 0),
        ("Disease", "x", "DOID:1438", 0),
        ("Disease", "x", "doid:1438", 0),
        ("Disease", "x", "1438", 0),  # a bare number means the entity of the mention's type
        ("Gene", "x", "1438", 5),
        ("Gene", "x", "NCBIGene:1438", 5),
        ("Disease", "x", "D006333", 1),
        ("Disease", "x", "MESH:D003139", 4),  # the node's own id has no prefix
        ("Chemical", "x", "DB00945", 2),
        ("Chemical", "x", "DRUGBANK:DB00945", 2),
    ],
)
def test_links_by_concept_id(linker: Linker, type: str, text: str, concept: str, row: int) -> None:
    assert linker.link(mention(type, text, concept)) == [Link(row, "id")]


@pytest.mark.parametrize(
    ("type", "concept"),
    [("Chemical", "1438"), ("Disease", "OMIM:1438"), ("Disease", "-1"), ("Disease", ""), ("Disease", "MESH:D999999")],
)
def test_does_not_link_foreign_ids(linker: Linker, type: str, concept: str) -> None:
    assert linker.link(mention(type, "unheard of", concept)) == [None]


def test_links_by_name_before_synonym_and_type_before_both(linker: Linker) -> None:
    assert linker.link(mention("Chemical", "HF")) == [Link(6, "name")]
    assert linker.link(mention("Disease", "HF")) == [Link(1, "synonym", n_candidates=2)]
    assert linker.link(mention("Side Effect", "heart failure")) == [Link(10, "name")]
    assert linker.link(mention("Gene", "Cox 2")) == [Link(3, "synonym")]
    assert linker.link(mention("Disease", "cold")) == [Link(4, "synonym")]


def test_unknown_concept_falls_back_to_the_name(linker: Linker) -> None:
    assert linker.link(mention("Chemical", "aspirin", "MESH:D001241")) == [Link(2, "name")]


def test_ambiguous_and_incompatible_links_are_not_exact(linker: Linker) -> None:
    (several,) = linker.link(mention("Gene", "ACTB"))
    assert several == Link(9, "name", n_candidates=2) and not several.exact
    (composite,) = linker.link(mention("Disease", "x", "DOID:1438", "D003139"))
    assert composite == Link(0, "id", n_candidates=2) and not composite.exact
    (other,) = linker.link(mention("Disease", "PTGS2"))
    assert other == Link(3, "name", type_matches=False) and not other.exact


def test_rows_of_one_cluster_are_one_concept(linker: Linker) -> None:
    assert linker.link(mention("Disease", "x", "MESH:D006333", "D003139")) == [Link(1, "id", n_candidates=1)]


def test_one_name_in_several_vocabularies_is_one_concept(linker: Linker) -> None:
    assert linker.link(mention("Disease", "heart failure")) == [Link(1, "name", n_candidates=1)]
    assert count_concepts([0, 1, 10], linker.index) == 1
    assert count_concepts([8, 9], linker.index) == 2
    assert count_concepts([1, 4], linker.index) == 1  # one cluster
    assert count_concepts([0, 1, 4, 7], linker.index) == 2


@settings(deadline=None)
@given(st.lists(st.integers(0, len(ROWS) - 1), min_size=1, max_size=6))
def test_the_number_of_concepts_does_not_depend_on_the_order(linker: Linker, rows: list[int]) -> None:
    assert 1 <= count_concepts(rows, linker.index) <= len(set(rows))
    assert count_concepts(rows, linker.index) == count_concepts(sorted(rows), linker.index)


def test_types_are_configurable(table: pa.Table) -> None:
    strict = Linker.from_table(table, LinkerConfig(other_types=False))
    assert strict.link(mention("Disease", "PTGS2")) == [None]
    mapped = Linker.from_table(table, LinkerConfig(types={"Disease": ("Gene",)}))
    assert mapped.link(mention("Disease", "cold")) == [Link(3, "synonym")]
    assert mapped.compatible_types("Disease") == ["Gene"]


def test_a_type_without_counterpart_may_link_to_all(linker: Linker) -> None:
    assert linker.compatible_types("Widget") == []
    assert linker.link(mention("Widget", "Aspirin")) == [Link(2, "name")]


def test_candidates(linker: Linker) -> None:
    assert linker.candidates("HF") == [6, 1, 7, 0]
    assert linker.candidates("hf", types=["Disease"]) == [1, 7, 0]
    assert linker.candidates("cold", types=["Gene", "Disease"]) == [3, 4]
    assert linker.candidates("heart failure", types=["Disease"]) == [1, 0, 10]
    assert linker.candidates("HF", types=["Gene"]) == []
    assert linker.candidates("unheard of") == []


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("Chemical", "Compound", True),
        ("Chemicals", "Drug", True),
        ("cell_line", "CellLine", True),
        ("cell_line", "Cell", False),
        ("cell_type", "Cell", True),
        ("protein", "Gene", True),
        ("Disease", "Phenotype", True),
        ("Side Effect", "Disease", True),
        ("Disease", "Gene", False),
        ("Species", "Organism", True),
    ],
)
def test_types_alike(first: str, second: str, alike: bool) -> None:
    assert types_alike(first, second) is types_alike(second, first) is alike


def test_index_survives_pickling(linker: Linker) -> None:
    assert pickle.loads(pickle.dumps(linker)).candidates("HF") == [6, 1, 7, 0]


def test_empty_table_links_nothing(table: pa.Table) -> None:
    assert Linker.from_table(table.slice(0, 0)).link(mention("Disease", "HF", "D006333")) == [None]


def test_coverage_counts(linker: Linker) -> None:
    documents = [
        mention("Disease", "HF"),
        mention("Disease", "hf"),
        mention("Disease", "gout"),
        mention("Disease", "x", "DOID:1438"),
        mention("Chemical", "Aspirin"),
        mention("Chemical", "PTGS2"),
    ]
    report = coverage(documents, linker)
    disease, chemical = report.per_type
    assert (disease.type, disease.mentions) == ("Disease", 4)
    assert (disease.by_id, disease.by_synonym, disease.ambiguous) == (1, 2, 2)
    assert (disease.surfaces, disease.linked_surfaces, disease.mention_share) == (3, 2, 0.75)
    assert (chemical.by_name, chemical.other_type) == (2, 1)
    assert (report.total.mentions, report.total.linked, report.total.surfaces) == (6, 5, 5)
    assert report.as_dict()["total"]["mention_share"] == 0.8333
    assert report.as_table().row_count == 3


def test_coverage_of_nothing(linker: Linker) -> None:
    assert coverage([], linker).total.mention_share == 0.0
