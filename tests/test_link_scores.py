"""Scores of linking: by hand on few mentions, and through `kogner evaluate`."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from small_corpus import DISEASES, DRUGS, make_documents

from kogner_ray.config import make_config
from kogner_ray.data.formats import write_documents
from kogner_ray.data.spans import Document, Entity
from kogner_ray.evaluate import EvaluateConfig, run_evaluation
from kogner_ray.link_scores import LinkCounts, reliability, score_links
from kogner_ray.tagger import TaggedEntity, Tagger

TEXT = "aspirin reduces gout in most patients ."
TYPES = ("Chemical", "Disease")


@pytest.fixture(scope="module")
def tagger(tiny_checkpoint: Path) -> Tagger:
    return Tagger.load(tiny_checkpoint)


def gold(*ids: str) -> Document:
    spans = ((0, 7, "Chemical"), (16, 20, "Disease"))
    entities = (Entity(*span, (id,) if id else ()) for span, id in zip(spans, ids, strict=True))
    return Document("d", TEXT, tuple(entities), TYPES)


ASPIRIN, GOUT = (
    f"{kind}:{names.index(name)}"
    for kind, names, name in (("chemical", DRUGS, "aspirin"), ("disease", DISEASES, "gout"))
)


def test_counts_of_few_mentions(tagger: Tagger) -> None:
    documents = [gold(ASPIRIN, GOUT), gold("chemical:1", ""), gold("", "NOWHERE:1")]
    aspirin = TaggedEntity(0, 7, "aspirin", "Chemical", 0.9, ASPIRIN, "aspirin", 0.9)
    found = [
        [aspirin, TaggedEntity(16, 20, "gout", "Disease", 0.9)],
        [aspirin, replace(aspirin, start=8, end=15)],
        [TaggedEntity(16, 20, "gout", "Disease", 0.9, GOUT, "gout", 0.9)],
    ]
    report = score_links(tagger, documents, found, TYPES)
    assert report is not None
    assert report.gold["Chemical"] == LinkCounts(3, 2, 1, 1, 3, 1)
    assert report.gold["Disease"] == LinkCounts(3, 1, 1, 1, 3, 1)
    chemical, disease = report.found["Chemical"], report.found["Disease"]
    assert (chemical.n_correct, chemical.n_predicted, chemical.n_gold) == (1, 3, 2)
    assert (disease.n_correct, disease.n_predicted, disease.n_gold) == (0, 1, 1)
    assert report.gold["all"].mentions == 6 and report.found["all"].n_predicted == 4
    assert sum(n for n, _, _ in report.reliability) == 6
    assert report.calibration_error == pytest.approx(abs(report.reliability[-1][1] - 2 / 6), abs=1e-6)


def test_reliability_is_of_tenths_of_probability() -> None:
    rows = reliability([(0.05, False), (0.95, True), (1.0, False), (0.31, True)])
    assert rows == ((1, 0.05, 0.0), (1, 0.31, 1.0), (2, pytest.approx(0.975), 0.5))
    assert reliability([]) == ()


def test_without_ids_that_the_kg_knows_there_is_no_report(tagger: Tagger) -> None:
    assert score_links(tagger, make_documents(3), [[]] * 3, TYPES) is None
    assert score_links(tagger, [gold("NOWHERE:1", "")], [[]], TYPES) is None
    assert score_links(tagger, [gold(ASPIRIN, "")], [[]], ["Disease"]) is None


def test_evaluation_reports_linking(tiny_checkpoint: Path, tmp_path: Path) -> None:
    ids = {
        name: f"{kind}:{i}"
        for kind, names in (("chemical", DRUGS), ("disease", DISEASES))
        for i, name in enumerate(names)
    }
    documents = [
        d.with_entities(replace(e, concepts=(ids[d.surface(e)],)) for e in d.entities)
        for d in make_documents(12, seed=4)
    ]
    write_documents(documents, tmp_path / "gold.jsonl")
    values = {"checkpoint": tiny_checkpoint, "corpus": [str(tmp_path / "gold.jsonl")], "bootstrap": 0}
    printed = io.StringIO()
    config = make_config(EvaluateConfig, values | {"output": tmp_path / "scores.json"})
    evaluation = run_evaluation(config, Console(width=160, file=printed))
    assert evaluation.links is not None and evaluation.links.gold["all"].as_dict()["accuracy@1"] == 1
    assert evaluation.links.found["all"].f1 == evaluation.report.micro.f1 > 0.9
    assert "calibration error" in printed.getvalue()
    scores = json.loads((tmp_path / "scores.json").read_text())["linking"]
    assert scores["found_and_linked"]["Disease"]["f1"] > 0.9
    plain = run_evaluation(make_config(EvaluateConfig, values | {"link": False}), Console(file=io.StringIO()))
    assert plain.links is None and plain.report == evaluation.report
