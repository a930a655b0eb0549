"""Linking real corpora to real graphs reaches the shares that exact matching was found to give."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kogner_ray.data.formats import read_documents
from kogner_ray.data.spans import Document
from kogner_ray.kg.coverage import coverage
from kogner_ray.kg.linking import Linker, LinkerConfig
from kogner_ray.kg.tables import read_kg

CORPORA = {
    "bc5cdr": "cambridgeltl/MTL-Bioinformatics-2016/*/data/BC5CDR-IOB/test.tsv",
    "ncbi": "cambridgeltl/MTL-Bioinformatics-2016/*/data/NCBI-disease-IOB/test.tsv",
    "jnlpba": "BaderLab/Biomedical-Corpora/*/corpora/NER/CoNLL/BIO/JNLPBA_BIO/test.tsv",
    "bc5cdr with ids": "mahdi-khoshmaram/bc5cdr-xml-to-json-converter/*/original/CDR_TestSet.PubTator.txt",
    "ncbi with ids": "spyysalo/ncbi-disease/*/original-data/test/NCBI*_corpus.txt",
}


@pytest.fixture(scope="module")
def corpora(mirror: Path) -> dict[str, list[Document]]:
    files = {name: next(iter(mirror.glob(pattern))) for name, pattern in CORPORA.items()}
    return {name: list(read_documents(path)) for name, path in files.items()}


@pytest.fixture(scope="module")
def biokg(shared: Path) -> Linker:
    nodes = read_kg(shared / "data/kg/biokg").nodes
    started = time.process_time()
    linker = Linker.from_table(nodes)
    assert time.process_time() - started < 15  # 1.1 million names and synonyms
    return linker


@pytest.fixture(scope="module")
def hetionet(shared: Path) -> Linker:
    return Linker.from_table(read_kg(shared / "data/kg/hetionet").nodes)


@pytest.mark.parametrize(
    ("corpus", "type", "by_mention", "by_surface"),
    [
        ("bc5cdr", "all", 0.84, 0.70),
        ("bc5cdr", "Chemical", 0.88, 0.79),
        ("bc5cdr", "Disease", 0.78, 0.62),
        ("ncbi", "Disease", 0.71, 0.55),
        ("jnlpba", "all", 0.46, 0.23),
    ],
)
def test_names_of_biokg(
    corpora: dict[str, list[Document]], biokg: Linker, corpus: str, type: str, by_mention: float, by_surface: float
) -> None:
    report = coverage(corpora[corpus], biokg)
    (row,) = [row for row in (*report.per_type, report.total) if row.type == type]
    assert row.by_id == 0
    assert row.mention_share == pytest.approx(by_mention, abs=0.016)
    assert row.surface_share == pytest.approx(by_surface, abs=0.016)


def test_most_links_by_name_are_exact(corpora: dict[str, list[Document]], biokg: Linker) -> None:
    links = [link for document in corpora["bc5cdr"] for link in biokg.link(document)]
    n_exact = sum(link is not None and link.exact for link in links)
    assert n_exact / len(links) > 0.7


def test_concept_ids(corpora: dict[str, list[Document]], biokg: Linker) -> None:
    bc5cdr, ncbi = (coverage(corpora[f"{name} with ids"], biokg).total for name in ("bc5cdr", "ncbi"))
    assert bc5cdr.by_id / bc5cdr.mentions > 0.94 and bc5cdr.mention_share > 0.97
    assert ncbi.by_id == ncbi.mentions == 960


def test_names_find_the_gold_concept(corpora: dict[str, list[Document]], biokg: Linker) -> None:
    concepts = biokg.index.concepts
    right = found = 0
    for document in corpora["bc5cdr with ids"]:
        for entity in document.entities:
            gold = {int(concepts[row]) for id in entity.concepts for row, _ in biokg.index.rows_with_id(id)}
            rows = biokg.candidates(document.surface(entity), [entity.type])
            if gold and rows:
                found += 1
                right += any(int(concepts[row]) in gold for row in rows)
    assert right / found > 0.82


def test_hetionet(corpora: dict[str, list[Document]], hetionet: Linker) -> None:
    any_type = coverage(corpora["bc5cdr"], hetionet).total
    assert any_type.mention_share == pytest.approx(0.63, abs=0.01)
    strict = Linker(hetionet.index, LinkerConfig(other_types=False))
    compatible = coverage(corpora["bc5cdr"], strict).total
    assert compatible.other_type == 0
    assert compatible.linked == any_type.linked - any_type.other_type
