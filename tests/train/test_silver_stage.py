"""Distant supervision, whole: raw text and a KG, no label, on real Ray Data and Ray Train."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_corpus import DISEASES, DRUGS, TYPES, make_documents, make_table, student_config

from kogner_ray.config import make_config
from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.data.spans import UNKNOWN, Document
from kogner_ray.errors import ConfigError, DataError
from kogner_ray.kg.embeddings import write_entity_table
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.tagger import Tagger
from kogner_ray.train.distill import DistillConfig, distill

RAW = [Document(document.id, document.text) for document in make_documents(60, seed=5, prefix="r")]
TEST = make_documents(12, seed=2, prefix="t")
GOLD = make_documents(6, seed=3, prefix="g")
# An encoder of random weights cannot tell from a name's place what it is: no name is dropped for its score.
STAGE = {
    "fold_epochs": 2,
    "epochs": 15,
    "exchange": 0.7,
    "rounds": 0,
    "min_score": 0.0,
    "filter": {"min_length": 3, "rare": 100},
}

NAMES = {name for known in (*DRUGS, *DISEASES) for name in (known, f"{known} alias")}
ALIGNMENT = {"whiten": True, "loss": {"alignment": "contrastive"}}


@dataclass(frozen=True)
class World:
    """Everything that a run reads."""

    folder: Path
    encoder: Path

    def config(self, output: Path, *, corpus: dict[str, Any] | None = None, **changes: Any) -> DistillConfig:
        optim = {"encoder_lr": 2e-3, "lr": 2e-3}
        train = {"epochs": 3, "batch_size": 8, "precision": "fp32", "freeze_word_embeddings": False, "optim": optim}
        base: dict[str, Any] = {
            "output": str(output),
            "corpus": {"test": [str(self.folder / "test.jsonl")], "types": TYPES, **(corpus or {})},
            "kg": {"entity_table": str(self.folder / "table")},
            "student": student_config(self.encoder).model_dump(),
            "kg_head_width": 48,
            "train": train,
            "bootstrap": 0,
            "silver": {**STAGE, "raw": [str(self.folder / "raw.jsonl")]},
        }
        for name, value in changes.items():
            base[name] = base.get(name, {}) | value if isinstance(value, dict) else value
        return make_config(DistillConfig, base)


@pytest.fixture(scope="module")
def world(tiny_encoder: Path, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("silver")
    for name, documents in (("raw", RAW), ("test", TEST), ("gold", GOLD)):
        write_documents(documents, folder / f"{name}.jsonl")
    write_entity_table(make_table(), folder / "table")
    return World(folder, tiny_encoder)


def silver_of(output: Path, part: str = "silver") -> list[Document]:
    files = sorted((output / "silver" / part).glob("*.parquet"))
    return [document for file in files for document in read_documents(file)]


@pytest.fixture(scope="module")
def without_labels(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "zero"
    distill(world.config(output, silver={"rounds": 1}, **ALIGNMENT))
    return output


def test_without_a_label_the_kg_teaches_the_types(without_labels: Path) -> None:
    report = json.loads((without_labels / "report.json").read_text())
    assert report["test"]["micro"]["f1"] > 0.8
    assert report["coverage"] is None
    assert report["census"]["linked"] > 0
    assert read_checkpoint(without_labels / "checkpoint").kg_head is not None


def test_every_raw_document_is_trained_on_with_a_copy_of_other_names(without_labels: Path) -> None:
    names = {"Chemical": set(DRUGS), "Disease": set(DISEASES)}
    aliases = {type_: known | {f"{name} alias" for name in known} for type_, known in names.items()}
    documents = silver_of(without_labels)
    assert len(documents) == 2 * len(RAW)
    texts = {document.text for document in RAW}
    for document in documents:
        assert document.entities
        assert (document.text in texts) == ("#" not in document.id) or document.id.endswith("#0")
        assert all(document.surface(e).lower() in aliases[e.type] for e in document.entities if e.type != "?")
    assert len(silver_of(without_labels, "../round-1/silver")) == 2 * len(RAW)
    scores = json.loads((without_labels / "silver" / "scores.json").read_text())
    assert {(row["type"], row["name"]) for row in scores} <= {(t, name) for t, known in names.items() for name in known}


def test_a_stage_that_was_cut_off_goes_on(without_labels: Path, world: World) -> None:
    before = _times(without_labels)
    (without_labels / "report.json").unlink()
    (without_labels / "round-1" / ".silver.partial").mkdir(exist_ok=True)
    report = distill(world.config(without_labels, silver={"rounds": 1}, **ALIGNMENT))
    assert report.test.report.micro.f1 > 0.8
    assert _times(without_labels) == before


def _times(run: Path) -> dict[Path, int]:
    made = [path for part in ("silver", "round-1") for path in (run / part).rglob("*.parquet")]
    assert made
    return {path: path.stat().st_mtime_ns for path in made}


def test_labels_go_on_from_the_silver_student_and_the_comparison_takes_as_many_steps(
    world: World, tmp_path: Path
) -> None:
    gold = {"train": [str(world.folder / "gold.jsonl")]}
    stage = {"folds": 0, "exchange": 0, "epochs": 4}
    report = distill(world.config(tmp_path / "run", corpus=gold, silver=stage, compare=True))
    start, silver = (read_checkpoint(tmp_path / "run" / place) for place in ("student/start", "silver/student/best"))
    for own, taught in zip(start.student.parameters(), silver.student.parameters(), strict=True):
        assert own.equal(taught)
    assert start.kg_head.state_dict().keys() == silver.kg_head.state_dict().keys()
    assert all(value.equal(silver.kg_head.state_dict()[name]) for name, value in start.kg_head.state_dict().items())
    steps = {
        name: json.loads((tmp_path / "run" / name / "metrics.jsonl").read_text().splitlines()[-1])["step"]
        for name in ("no_kg", "student", "silver/student")
    }
    assert steps["student"] == 3  # epochs of 6 documents, in batches of 8
    assert steps["silver/student"] == 4 * 8
    # 4 passes over 60 raw documents are 40 epochs over 6
    assert steps["no_kg"] == 43
    assert report.baseline is not None and report.test is not None


def test_the_student_of_the_labels_labels_the_raw_text_and_learns_from_both(world: World, tmp_path: Path) -> None:
    gold, copies = GOLD[:3] + [Document("same", RAW[0].text, GOLD[0].entities[:0])], 3
    write_documents(gold, tmp_path / "gold.jsonl")
    stage = {"folds": 0, "exchange": 0, "epochs": 2, "rounds": 2, "round_epochs": 2, "label_copies": copies}
    stage |= {"round_min_score": 1e-3, "round_sure_score": 1e-2}
    corpus = {"train": [str(tmp_path / "gold.jsonl")]}
    config = world.config(tmp_path / "run", corpus=corpus, silver=stage, compare=True)
    distill(config)
    n_raw = len(RAW) - 1  # one is labelled
    for number, before in ((1, "student"), (2, "round-1/student")):
        place = tmp_path / "run" / f"round-{number}"
        made = [document for file in (place / "silver").glob("*.parquet") for document in read_documents(file)]
        assert {d.id for d in made} == {d.id for d in RAW} - {RAW[0].id}
        found = Tagger.load(tmp_path / "run" / before / "best").tag(
            [d.text for d in made], threshold=1e-2, nested=True, multi_label=True, link=False
        )
        for document, entities in zip(made, found, strict=True):
            seen = {(e.start, e.end, e.type) for e in entities}
            mentions = [e for e in document.entities if e.type != UNKNOWN]
            assert mentions
            assert all((e.start, e.end, e.type) in seen or document.surface(e).lower() in NAMES for e in mentions)
        last = json.loads((place / "student" / "metrics.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 2 * math.ceil((n_raw + copies * len(gold)) / 8)
    last_of_all = read_checkpoint(tmp_path / "run" / "round-2/student/best").student
    finished = read_checkpoint(tmp_path / "run" / "checkpoint").student
    assert all(a.equal(b) for a, b in zip(last_of_all.parameters(), finished.parameters(), strict=True))
    plain = json.loads((tmp_path / "run" / "no_kg" / "metrics.jsonl").read_text().splitlines()[-1])
    # 3 epochs of labels, 2 passes over 60 raw documents before them and 4 after, and 2 x 2 x 3 over the labels
    assert plain["epoch"] == 3 + math.ceil(6 * len(RAW) / len(gold)) + 12


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"silver": {"raw": []}}, ConfigError, r"silver\.raw: expected files"),
        ({"silver": {"raw": ["nowhere.jsonl"]}}, ConfigError, r"silver\.raw: .*nowhere\.jsonl"),
        ({"kg": {"entity_table": None}}, ConfigError, r"silver\.names: expected nodes\.parquet"),
        ({"corpus": {"types": None}}, ConfigError, r"corpus\.types: expected the types"),
        ({"corpus": {"types": {"Virus": "virus"}, "test": []}}, ConfigError, "no entity of a type like 'Virus'"),
        ({"silver": None}, ConfigError, "name a corpus"),
    ],
)
def test_bad_settings_are_refused_by_name(
    world: World, tmp_path: Path, changes: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        distill(world.config(tmp_path / "run", **changes))


def test_raw_text_without_a_name_is_refused(world: World, tmp_path: Path) -> None:
    write_documents([Document("a", "nothing of the kind")], tmp_path / "raw.jsonl")
    with pytest.raises(DataError, match="no name of the KG; wanted: Chemical, Disease"):
        distill(world.config(tmp_path / "run", silver={"raw": [str(tmp_path / "raw.jsonl")]}))


def test_names_of_another_kg_and_a_bad_table(world: World, tmp_path: Path) -> None:
    table = make_table()
    pq.write_table(table.entities.drop_columns(["synonyms"]), tmp_path / "nodes.parquet")
    with pytest.raises(DataError, match=r"nodes\.parquet.*missing columns \['synonyms'\]"):
        distill(world.config(tmp_path / "run", silver={"names": str(tmp_path)}))
