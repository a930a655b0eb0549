"""PubTator and BioC on what NCBI really ships, and on the shapes that its services return."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kogner_ray.data.formats import bioc_json, bioc_xml, pubtator
from kogner_ray.data.formats.concepts import join_concepts, split_concepts
from kogner_ray.data.spans import Document, Entity, Passage, Relation
from kogner_ray.errors import UnsupportedAnnotation

_PUBTATOR = """\
1|t|Hemorrhagic cystitis after IFO.
1|a|A case.
1	0	20	Hemorrhagic cystitis	Disease	D006470|D003556	Hemorrhagic|cystitis
1	27	30	IFO 	Chemical	 D007069
1	34	38	case	X	-1
1	CID	D007069	D003556

2|t|No abstract |here|
3|t|Combined
3|a|
3	0	8	Combined	Disease	C538273+D001168
3	0	3	Com	Variant	tmVar:c|SUB|A|12|T;HGVS:c.12A>T
3	Association	D1	D2	Novel
"""


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_pubtator_lines(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(_PUBTATOR.replace("\n", ending).encode())
    first, second, third = pubtator.read(path)
    assert first == Document(
        "1",
        "Hemorrhagic cystitis after IFO. A case.",
        (
            Entity(
                0, 20, "Disease", ("D006470", "D003556"), attributes={"individual_mentions": "Hemorrhagic|cystitis"}
            ),
            Entity(27, 30, "Chemical", ("D007069",)),
            Entity(34, 38, "X"),
        ),
        passages=(Passage(0, 31, "title"), Passage(32, 39, "abstract")),
        relations=(Relation("CID", (("", "D007069"), ("", "D003556"))),),
    )
    assert second == Document("2", "No abstract |here|")
    assert third.text == "Combined "
    assert [e.concepts for e in third.entities] == [("C538273", "D001168"), ("tmVar:c|SUB|A|12|T;HGVS:c.12A>T",)]
    assert third.relations == (Relation("Association", (("", "D1"), ("", "D2")), attributes={"note": "Novel"}),)
    pubtator.write([first, second, third], tmp_path / "y.txt")
    assert list(pubtator.read(tmp_path / "y.txt")) == [first, second, third]


def test_concept_fields() -> None:
    assert split_concepts("MESH:D003110, MESH:D008175") == ("MESH:D003110", "MESH:D008175")
    assert split_concepts("-1") == split_concepts("-") == split_concepts(" ") == ()
    assert join_concepts(("a", "b")) == "a|b"
    assert join_concepts(()) == "-1"
    for odd in (("a|b",), ("-1",), ("",), (" a",), ("tmVar:x", "b")):
        with pytest.raises(UnsupportedAnnotation):
            join_concepts(odd)


@pytest.mark.parametrize(
    ("pattern", "n_documents", "n_mentions", "n_relations"),
    [
        ("CDR_TrainingSet.PubTator.txt", 500, 9385, 1038),
        ("CDR_DevelopmentSet.PubTator.txt", 500, 9591, 1012),
        ("CDR_TestSet.PubTator.txt", 500, 9809, 1066),
        ("NCBItrainset_corpus.txt", 593, 5145, 0),
        ("NCBIdevelopset_corpus.txt", 100, 787, 0),
        ("NCBItestset_corpus.txt", 100, 960, 0),
    ],
)
def test_real_pubtator_files(
    mirror: Path, tmp_path: Path, pattern: str, n_documents: int, n_mentions: int, n_relations: int
) -> None:
    [file] = mirror.glob(f"*/*/*/**/{pattern}")
    documents = list(pubtator.read(file))
    assert len(documents) == n_documents
    assert sum(len(document.entities) for document in documents) == n_mentions
    assert sum(len(document.relations) for document in documents) == n_relations
    pubtator.write(documents, tmp_path / "x")
    assert list(pubtator.read(tmp_path / "x")) == documents


def test_bioc_and_pubtator_agree_on_the_same_corpus(mirror: Path, tmp_path: Path) -> None:
    [xml], [text] = mirror.glob("*/*/*/**/CDR_TestSet.BioC.xml"), mirror.glob("*/*/*/**/CDR_TestSet.PubTator.txt")
    from_xml, from_text = list(bioc_xml.read(xml)), list(pubtator.read(text))
    assert [d.text for d in from_xml] == [d.text for d in from_text]
    for ours, theirs in zip(from_xml, from_text, strict=True):
        whole = [e for e in ours.entities if e.attributes.get("CompositeRole") != "IndividualMention"]
        key = [(e.start, e.end, e.type, e.concepts) for e in whole]
        assert sorted(key) == sorted((e.start, e.end, e.type, e.concepts) for e in theirs.entities)
        assert [p.kind for p in ours.passages] == ["title", "abstract"]
        assert [r.type for r in ours.relations] == [r.type for r in theirs.relations]
    assert sum(bool(entity.fragments) for document in from_xml for entity in document.entities) == 37
    bioc_json.write(from_xml, tmp_path / "x.json")
    bioc_xml.write(from_xml, tmp_path / "x.xml")
    assert list(bioc_json.read(tmp_path / "x.json")) == list(bioc_xml.read(tmp_path / "x.xml")) == from_xml


_DOCUMENT = {
    "id": 7,
    "infons": {"year": 2020, "licence": None},
    "passages": [
        {
            "offset": 0,
            "infons": {"type": "title"},
            "text": "IL-2 gene",
            "annotations": [
                {
                    "id": "3",
                    "text": "IL-2",
                    "infons": {"type": "Gene", "identifier": "3558,16183", "valid": True},
                    "locations": [{"offset": 0, "length": 4}],
                }
            ],
        },
        {
            "offset": 10,
            "infons": {"type": "abstract"},
            "sentences": [{"offset": 10, "text": "One.", "infons": {}}, {"offset": 15, "text": "Two.", "infons": {}}],
        },
    ],
    "relations": [{"id": "R1", "infons": {"type": "Association"}, "nodes": [{"refid": "3", "role": "gene"}]}],
}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda d: json.dumps({"source": "s", "date": "", "key": "", "infons": {}, "documents": [d]}),
        lambda d: json.dumps([{"documents": [d]}], indent=1),
        lambda d: json.dumps({"PubTator3": [d]}),
        lambda d: json.dumps(d) + "\n",
    ],
    ids=["collection", "PMC", "PubTator 3", "bare"],
)
def test_bioc_json_as_services_return_it(wrap: object, tmp_path: Path) -> None:
    assert callable(wrap)
    path = tmp_path / "x.json"
    path.write_text(wrap(_DOCUMENT))
    [document] = bioc_json.read(path)
    assert document == Document(
        "7",
        "IL-2 gene One. Two.",
        (Entity(0, 4, "Gene", ("3558", "16183"), id="3", attributes={"valid": "true"}),),
        passages=(Passage(0, 9, "title"), Passage(10, 14, "abstract"), Passage(15, 19, "abstract")),
        relations=(Relation("Association", (("gene", "3"),), "R1"),),
        attributes={"year": "2020", "licence": ""},
    )


def test_bioc_json_documents_after_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("".join(json.dumps(_DOCUMENT | {"id": str(i)}) + "\n" for i in range(3)))
    assert [document.id for document in bioc_json.read(path)] == ["0", "1", "2"]
