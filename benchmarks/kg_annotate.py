"""How good is a corpus that `kogner kg annotate` makes of raw text, without a label?

biokg's names on the training texts of BC5CDR and NCBI-disease (their annotations are not looked at); the quality is
estimated on the annotated test documents. Once as it comes, once believing every name, whatever the raw text says.

    KOGNER_SHARED=... python benchmarks/kg_annotate.py
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from results import conditions, markdown_table, write_section

from kogner_ray.data.formats import read_documents, write_documents
from kogner_ray.data.spans import relabel
from kogner_ray.silver.annotate import NamesConfig
from kogner_ray.silver.corpus import AnnotateConfig, annotate_corpus

_CORPORA = {
    "BC5CDR": (
        ("Chemical", "Disease"),
        "mahdi-khoshmaram/bc5cdr-xml-to-json-converter/*/original/CDR_TrainingSet.PubTator.txt",
        "mahdi-khoshmaram/bc5cdr-xml-to-json-converter/*/original/CDR_TestSet.PubTator.txt",
    ),
    "NCBI-disease": (
        ("Disease",),
        "spyysalo/ncbi-disease/*/original-data/train/NCBI*_corpus.txt",
        "spyysalo/ncbi-disease/*/original-data/test/NCBI*_corpus.txt",
    ),
}
_KINDS = dict.fromkeys(("SpecificDisease", "Modifier", "DiseaseClass", "CompositeMention"), "Disease")
_NAMES = {"": NamesConfig(), ", every name": NamesConfig(min_residual_idf=-1e9, min_length=1)}
_NOTE = """\
Strict span scores on the test documents, percent; 95 % bootstrap interval over documents. Mentions are those of the
raw corpus, ids the share of them with the id of one concept; `id right` is the share of correct test mentions, with an
id on both sides, whose ids are one concept of the KG's. NCBI-disease annotates four kinds of disease mentions, here one
type. CPU seconds are for reading the names of biokg, both passes over the raw text, and the test documents."""


def main() -> None:
    """Annotate, compare, write the table."""
    shared = os.environ.get("KOGNER_SHARED")
    if not shared:
        sys.exit("set KOGNER_SHARED to the folder with data/ and mirror/: without it there is nothing to measure on")
    rows = [
        row
        for corpus in _CORPORA
        for name, names in _NAMES.items()
        for row in _measured(corpus, name, names, Path(shared))
    ]
    header = ["corpus, type", "P", "R", "F1", "interval", "mentions", "ids", "id right", "CPU s"]
    made = conditions(packages=["pyarrow"], KG="biokg", ids="MESH preferred", seed="0 (bootstrap, 1,000 resamples)")
    section = f"## Annotating by names alone\n\n{markdown_table(header, rows)}\n\n{_NOTE}\n\n{made}\n"
    print(section)
    write_section("kg-annotate", section)


def _measured(corpus: str, name: str, names: NamesConfig, shared: Path) -> list[list[str]]:
    types, *patterns = _CORPORA[corpus]
    raw, gold = (next(iter((shared / "mirror/raw.githubusercontent.com").glob(pattern))) for pattern in patterns)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "gold.jsonl"
        write_documents((relabel(document, _KINDS) for document in read_documents(gold)), sample)
        report = annotate_corpus(
            AnnotateConfig(
                kg=shared / "data/kg/biokg",
                raw=(str(raw),),
                output=Path(folder) / "silver.jsonl",
                types=types,
                names=names,
                ids=("MESH",),
                gold=(str(sample),),
            )
        )
    assert report.quality is not None
    quality = report.quality.report
    low, high = quality.micro_interval or (0.0, 0.0)
    mentions, linked = sum(report.mentions.values()), sum(report.linked.values())
    rest = [f"{mentions:,}", f"{100 * linked / mentions:.1f}"]
    right = report.quality.right / max(report.quality.linked, 1)
    rest += [f"{100 * right:.1f}", f"{time.process_time() - started:.0f}"]
    rows = [[f"{corpus}{name}: all", *_shares(quality.micro), f"{100 * low:.1f}-{100 * high:.1f}", *rest]]
    if len(types) > 1:
        rows += [[f"{corpus}{name}: {kind}", *_shares(c), *[""] * 5] for kind, c in quality.per_type.items()]
    return rows


def _shares(counts: object) -> list[str]:
    return [f"{100 * getattr(counts, what):.1f}" for what in ("precision", "recall", "f1")]


if __name__ == "__main__":
    main()
