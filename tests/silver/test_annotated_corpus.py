"""A corpus annotated by the names of a KG, with its ids and its quality on a gold sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import ConfigError, DataError
from kogner_ray.kg.formats.biomedgraphica import TYPES as BIOMEDGRAPHICA
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, KnowledgeGraph
from kogner_ray.silver.corpus import AnnotateConfig, AnnotationReport, annotate_corpus, report_path
from kogner_ray.silver.linking import CANDIDATES, KG_NAME, types_for

ROWS = [
    ("DOID:1", "renal failure", "Disease", ["kidney failure"], ["MESH:D1"]),
    ("HP:1", "Renal failure", "Phenotype", [], []),
    ("DB:1", "aspirin", "Drug", ["acetylsalicylic acid"], []),
    ("DB:2", "insulin", "Drug", [], []),
    ("G:1", "INSA", "Gene", ["insulin"], []),
    ("P:1", "INSA protein", "Protein", ["INSA"], []),
    ("DOID:2", "depression", "Disease", ["cold"], []),
    ("DOID:3", "common cold", "Disease", ["cold"], []),
    ("X:1", "cell line", "CellLine", [], []),
]


@pytest.fixture
def kg(tmp_path: Path) -> Path:
    nodes = [
        {"id": own, "name": name, "type": kind, "synonyms": synonyms, "description": "", "xrefs": xrefs}
        for own, name, kind, synonyms, xrefs in ROWS
    ]
    table = pa.Table.from_pylist(nodes, pa.schema([*NODE_SCHEMA, ("xrefs", pa.list_(pa.string()))]))
    return KnowledgeGraph(table, pa.Table.from_pylist([], EDGE_SCHEMA)).write(tmp_path / "kg")


TEXTS = [
    "Aspirin and acute renal failure (ARF). ARF is severe.",
    "A cold cell line with kidney failure.",
    "INSA and insulin were given to a patient.",
]


def annotated(kg: Path, **settings: Any) -> tuple[list[Document], AnnotationReport]:
    raw = kg.parent / "raw.jsonl"
    write_documents((Document(str(i), text, (Entity(0, 1, "X"),)) for i, text in enumerate(TEXTS)), raw)
    values = {"kg": kg, "raw": (str(raw),), "output": kg.parent / "out.jsonl"} | settings
    report = annotate_corpus(AnnotateConfig.model_validate(values))
    return list(read_documents(values["output"])), report


def said(documents: list[Document]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(d.surface(e), e.type, e.concepts) for d in documents for e in d.entities]


def test_mentions_carry_the_ids_of_the_kg(kg: Path) -> None:
    documents, report = annotated(kg, types=("Drug", "Disease"))
    assert said(documents) == [
        ("Aspirin", "Drug", ("DB:1",)),
        ("renal failure", "Disease", ("DOID:1",)),
        ("ARF", "Disease", ("DOID:1",)),
        ("ARF", "Disease", ("DOID:1",)),
        ("cold", "Disease", ()),
        ("kidney failure", "Disease", ("DOID:1",)),
        ("insulin", "Drug", ("DB:2",)),
    ]
    entities = [entity for document in documents for entity in document.entities]
    assert entities[1].attributes == {KG_NAME: "renal failure"}
    assert entities[4].attributes == {CANDIDATES: "DOID:2|DOID:3"}
    assert documents[0].annotated_types == ("Drug", "Disease")
    assert report.types == {"Drug": ("Drug",), "Disease": ("Disease", "Phenotype")}
    assert (report.mentions, report.linked) == ({"Disease": 5, "Drug": 2}, {"Disease": 4, "Drug": 2})
    assert (report.ambiguous["Disease"], report.documents, report.quality) == (1, 3, None)
    stored = json.loads(report_path(kg.parent / "out.jsonl").read_text(encoding="utf-8"))
    assert stored["mentions"] == report.mentions and stored["config"]["types"] == ["Drug", "Disease"]


def test_types_are_all_of_the_kg_by_default_and_none_swallows_another(kg: Path) -> None:
    documents, report = annotated(kg)
    assert report.types["Protein"] == ("Protein",) and report.types["Gene"] == ("Gene",)
    assert ("renal failure", "Disease", ("DOID:1",)) in said(documents)
    assert ("cell line", "CellLine", ("X:1",)) in said(documents)
    assert ("INSA", "Gene", ("G:1",)) in said(documents)
    assert ("INSA", "Protein", ("P:1",)) in said(annotated(kg, types=("Protein", "Gene"))[0])


def test_ids_of_a_vocabulary_are_preferred(kg: Path) -> None:
    documents, _ = annotated(kg, types=("Disease",), ids=("mesh", "HP"))
    assert said(documents)[0] == ("renal failure", "Disease", ("MESH:D1",))
    documents, _ = annotated(kg, types=("Disease",), ids=("HP",))
    assert said(documents)[0] == ("renal failure", "Disease", ("HP:1",))


def test_names_that_the_text_speaks_against_are_left_out(kg: Path) -> None:
    documents, report = annotated(kg, types=("Drug", "Disease"), names={"min_length": 8})
    assert "Aspirin" not in {surface for surface, _, _ in said(documents)}
    assert report.doubted == {"Disease": 1, "Drug": 2}


def gold(kg: Path, *entities: Entity) -> str:
    path = kg.parent / "gold.jsonl"
    write_documents([Document("g", TEXTS[0], entities), Document("h", "Nothing.")], path)
    return str(path)


def test_quality_is_estimated_on_a_gold_sample(kg: Path) -> None:
    right = Entity(0, 7, "Drug", ("DB:1",)), Entity(18, 31, "Disease", ("DOID:2",)), Entity(39, 42, "Disease")
    path = gold(kg, *right, Entity(8, 11, "Gene"), Entity(33, 36, "Disease", ("MESH:D1",)))
    _, report = annotated(kg, types=("Drug", "Disease"), gold=(path,), bootstrap=50)
    assert report.quality is not None
    quality = report.quality.as_dict()
    assert quality["micro"] | {"precision": 1, "recall": 1} == quality["micro"]
    assert (quality["documents"], quality["ignored"]) == (2, 1)
    # DB:1 and MESH:D1 are right, DOID:2 is not, one mention has no id in the gold
    assert (quality["linked"], quality["right"]) == (3, 2)
    assert set(quality["types"]) == {"Drug", "Disease"} and len(quality["micro_f1_interval"]) == 2


def test_other_formats_and_what_they_cannot_hold(kg: Path) -> None:
    documents, report = annotated(kg, types=("Drug", "Disease"), output=kg.parent / "out.pubtator.txt")
    assert ("ARF", "Disease", ("DOID:1",)) in said(documents)
    assert report.dropped["entity.attributes"] == 7


def test_bad_input_is_refused_by_name(kg: Path) -> None:
    with pytest.raises(ConfigError, match="no entity of a type like 'Virus'; it has CellLine"):
        annotated(kg, types=("Virus",))
    with pytest.raises(DataError, match=r"no mention of \['Drug'\]; it has \['Gene'\]: see --types"):
        annotated(kg, types=("Drug",), gold=(gold(kg, Entity(0, 7, "Gene")),))
    empty = kg.parent / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no document"):
        annotated(kg, raw=(str(empty),))
    assert not list(kg.parent.glob("out*")), "nothing was written"


def test_the_eleven_types_of_biomedgraphica(tmp_path: Path) -> None:
    nodes = [
        {"id": f"BMG_{kind}", "name": f"{kind} name", "type": kind, "synonyms": ["XDHA"], "description": ""}
        for kind in BIOMEDGRAPHICA
    ]
    graph = KnowledgeGraph(pa.Table.from_pylist(nodes, NODE_SCHEMA), pa.Table.from_pylist([], EDGE_SCHEMA))
    text = "XDHA, " + ", ".join(f"{kind.lower()} name" for kind in BIOMEDGRAPHICA)
    write_documents([Document("0", text)], tmp_path / "raw.jsonl")
    report = annotate_corpus(
        AnnotateConfig(
            kg=graph.write(tmp_path / "kg"),
            raw=(str(tmp_path / "raw.jsonl"),),
            output=tmp_path / "out.jsonl",
            types=("Protein", *(kind for kind in BIOMEDGRAPHICA if kind != "Protein")),
        )
    )
    assert report.mentions == {kind: 2 if kind == "Protein" else 1 for kind in sorted(BIOMEDGRAPHICA)}
    assert sum(report.linked.values()) == 12
    (document,) = read_documents(tmp_path / "out.jsonl")
    assert document.entities[0].concepts == ("BMG_Protein",)


def test_which_kg_types_stand_for_a_wanted_one() -> None:
    known = ["Disease", "Gene", "Protein", "SideEffect"]
    assert types_for(["Gene", "Disease"], known, LinkerConfig()).types == {
        "Gene": ("Gene", "Protein"),
        "Disease": ("Disease", "SideEffect"),
    }
    assert types_for(["Gene", "Protein"], known, LinkerConfig()).types == {"Gene": ("Gene",), "Protein": ("Protein",)}
    own = LinkerConfig(types={"Gene": ("Disease",)})
    assert types_for(["Gene"], known, own).types == {"Gene": ("Disease",)}
