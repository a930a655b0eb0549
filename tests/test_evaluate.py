"""Evaluation: strict, equal to data.metrics, over files and named corpora, as table and as JSON."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_corpus import TYPES, make_documents

from kogner_ray.config import make_config
from kogner_ray.data.formats.registry import write_documents
from kogner_ray.data.metrics import conll_report, score
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import CheckpointError, ConfigError, DataError, UnsupportedAnnotation
from kogner_ray.evaluate import EvaluateConfig, EvaluateSettings, compare, comparison_table, evaluate, run_evaluation
from kogner_ray.tagger import TaggedEntity, Tagger

DOCUMENTS = make_documents(20, seed=11) + [
    Document("wrong", "aspirin reduces gout .", (Entity(8, 15, "Disease"), Entity(0, 7, "Gene")))
]


@pytest.fixture(scope="module")
def tagger(tiny_checkpoint: Path) -> Tagger:
    return Tagger.load(tiny_checkpoint)


def configured(checkpoint: Path, *corpus: object, **settings: Any) -> EvaluateConfig:
    values = {"checkpoint": checkpoint, "corpus": [str(path) for path in corpus], "bootstrap": 20}
    return make_config(EvaluateConfig, values | settings)


def run(config: EvaluateConfig) -> tuple[Any, str]:
    printed = io.StringIO()
    evaluation = run_evaluation(config, Console(width=160, file=printed))
    return evaluation, printed.getvalue()


def test_scores_are_those_of_the_metrics(tagger: Tagger) -> None:
    found = evaluate(tagger, DOCUMENTS, EvaluateSettings(bootstrap=200, seed=3))
    predicted = [{(e.start, e.end, e.type) for e in tagger.tag(d.text)} for d in DOCUMENTS]
    gold = [{(e.start, e.end, e.type) for e in d.entities if e.type in TYPES} for d in DOCUMENTS]
    assert found.report == score(gold, predicted, types=TYPES, bootstrap=200, seed=3)
    assert 0.9 < found.report.micro.f1 < 1
    assert (found.n_documents, found.n_ignored) == (21, 1)


def test_known_predictions() -> None:
    document = Document("d", "a b c d", (Entity(0, 1, "X"), Entity(2, 3, "Y"), Entity(4, 5, "Z")))
    found = [TaggedEntity(0, 1, "a", "X", 0.9), TaggedEntity(2, 5, "b c", "Y", 0.8)]
    compared = compare(document, found, ["X", "Y"])
    assert compared.gold == {(0, 1, "X"), (2, 3, "Y")}
    assert compared.predicted == {(0, 1, "X"), (2, 5, "Y")}
    assert compared.n_ignored == 1


def test_types_that_a_document_does_not_annotate_are_neither_right_nor_wrong() -> None:
    document = Document("d", "a b", (Entity(0, 1, "X"), Entity(2, 3, "Y")), annotated_types=("X",))
    compared = compare(document, [TaggedEntity(2, 3, "b", "Y", 0.9)], ["X", "Y"])
    assert (compared.gold, compared.predicted, compared.n_ignored) == ({(0, 1, "X")}, set(), 1)


def test_other_types_can_be_asked_for(tagger: Tagger) -> None:
    found = evaluate(tagger, DOCUMENTS, EvaluateSettings(bootstrap=0), types={"Disease": "disease"})
    assert list(found.report.per_type) == ["Disease"]
    assert found.n_ignored == sum(e.type != "Disease" for d in DOCUMENTS for e in d.entities)
    assert found.report.micro_interval is None


@pytest.mark.parametrize("documents", [[], [Document("d", "no mention .")], [DOCUMENTS[0].with_entities([])]])
def test_nothing_to_compare_with_is_an_error(tagger: Tagger, documents: list[Document]) -> None:
    with pytest.raises(DataError, match=r"no document has a mention of \['Chemical', 'Disease'\]"):
        evaluate(tagger, documents, EvaluateSettings())


def test_several_files_of_several_formats(tiny_checkpoint: Path, tagger: Tagger, tmp_path: Path) -> None:
    plain = [replace(document, annotated_types=None) for document in DOCUMENTS]
    write_documents(plain[:9], tmp_path / "a.jsonl")
    write_documents(plain[9:], tmp_path / "b.parquet")
    output = tmp_path / "scores" / "tiny.json"
    config = configured(tiny_checkpoint, tmp_path / "a.jsonl", tmp_path / "b.parquet", output=output, conll=True)
    evaluation, printed = run(config)

    assert evaluation == evaluate(tagger, plain, EvaluateSettings(bootstrap=20))
    f1 = f"{100 * evaluation.report.micro.f1:.1f}"
    low, high = (f"{100 * bound:.1f}" for bound in evaluation.report.micro_interval)
    assert re.search(rf"all \(micro\).*{f1}", printed)
    assert f"{low}-{high}" in printed
    assert "1 annotated mentions are of types that were not asked for" in printed
    stored = json.loads(output.read_text())
    assert stored["micro"]["f1"] == evaluation.report.micro.f1
    assert stored["types"].keys() == {"Chemical", "Disease"}
    assert stored["settings"]["checkpoint"] == str(tiny_checkpoint)
    compared = [compare(document, tagger.tag(document.text), TYPES) for document in plain]
    report = conll_report([c.gold for c in compared], [c.predicted for c in compared])
    assert report.splitlines()[0].strip() in printed
    assert "weighted avg" in printed


def test_the_corpus_in_the_package_by_name(tiny_checkpoint: Path) -> None:
    evaluation, printed = run(configured(tiny_checkpoint, "embedded", split="dev", types=["Disease"]))
    assert evaluation.n_documents == 210
    assert "embedded" in printed
    with pytest.raises(ConfigError, match="no split 'validation'; known: train, dev, test"):
        run(configured(tiny_checkpoint, "embedded", split="validation"))


def test_a_corpus_of_the_catalog_by_name(
    tiny_checkpoint: Path, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOGNER_DATA_URL", str(mirror.parent))
    monkeypatch.setenv("KOGNER_DATA", str(tmp_path))
    evaluation, _ = run(configured(tiny_checkpoint, "ncbi-disease", split="dev", types=["Disease"]))
    assert evaluation.report.micro.n_gold > 500
    with pytest.raises(ConfigError, match="no split"):
        run(configured(tiny_checkpoint, "ncbi-disease", split="devel"))


def test_what_is_no_corpus(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl: no such file"):
        run(configured(tiny_checkpoint, tmp_path / "nowhere.jsonl"))
    with pytest.raises(ConfigError, match="did you mean 'bc5cdr'"):
        run(configured(tiny_checkpoint, "bc5cd"))
    with pytest.raises(ConfigError, match="is a graph"):
        run(configured(tiny_checkpoint, "hetionet"))


def test_no_checkpoint_and_a_place_that_cannot_be_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_documents(DOCUMENTS, tmp_path / "a.jsonl")
    with pytest.raises(CheckpointError, match="no such folder"):
        run(configured(tmp_path / "nowhere", tmp_path / "a.jsonl"))
    with pytest.raises(DataError, match="cannot be written"):
        run(configured(tiny_checkpoint, tmp_path / "a.jsonl", output=tmp_path / "a.jsonl" / "scores.json"))


def test_a_conll_report_of_nested_gold_is_refused_by_name(tiny_checkpoint: Path, tmp_path: Path) -> None:
    nested = Document("d", "lung cancer", (Entity(0, 11, "Disease"), Entity(5, 11, "Disease")))
    write_documents([nested], tmp_path / "a.jsonl")
    assert run(configured(tiny_checkpoint, tmp_path / "a.jsonl"))[0].report.micro.n_gold == 2
    with pytest.raises(UnsupportedAnnotation, match="overlaps"):
        run(configured(tiny_checkpoint, tmp_path / "a.jsonl", conll=True))


@pytest.mark.parametrize("wrong", [{"threshold": 2}, {"corpus": []}, {"treshold": 0.4}, {"bootstrap": -1}])
def test_settings_are_strict(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        configured(tmp_path, "embedded", **wrong)


def test_evaluations_side_by_side(tagger: Tagger) -> None:
    one = evaluate(tagger, DOCUMENTS, EvaluateSettings(bootstrap=0))
    other = evaluate(tagger, DOCUMENTS, EvaluateSettings(bootstrap=0), types={"Disease": "disease"})
    table = comparison_table({"with KG": one, "without KG": other})
    printed = io.StringIO()
    Console(width=160, file=printed).print(table)
    assert "with KG" in printed.getvalue()
    assert re.search(r"Chemical.*0\.0", printed.getvalue())  # a type that the other was not asked for
