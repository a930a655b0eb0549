"""Name distillation and label knowledge, whole: names of a KG and no text at all, on real Ray Data and Ray Train."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_corpus import DISEASES, DRUGS, TYPES, make_documents, make_table, student_config

from kogner_ray.config import make_config
from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.data.spans import Document
from kogner_ray.errors import ConfigError
from kogner_ray.kg.embeddings import write_entity_table
from kogner_ray.kg.tables import EDGE_SCHEMA
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.tagger import Tagger
from kogner_ray.train.distill import DistillConfig, distill

RAW = [Document(document.id, document.text) for document in make_documents(30, seed=5, prefix="r")]
GOLD = make_documents(6, seed=3, prefix="g")
NAMES = {
    type_: {name for known in names for name in (known, f"{known} alias")}
    for type_, names in (("Chemical", DRUGS), ("Disease", DISEASES))
}

SILVER = {"folds": 2, "epochs": 1, "exchange": 0.0, "rounds": 1, "round_weights": True, "filter": {"rare": 100}}

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    for name, documents in (("raw", RAW), ("gold", GOLD)):
        write_documents(documents, folder / f"{name}.jsonl")
    table = make_table()
    write_entity_table(table, folder / "table")
    ids = table.entities["id"].to_pylist()
    nodes = table.entities.append_column("description", pa.array(["A drug or disease."] * len(ids)))
    is_a = [{"head": head, "relation": "is_a", "tail": ids[8]} for head in ids[9:12]]  # three diseases are asthma
    (folder / "kg").mkdir()
    pq.write_table(nodes, folder / "kg" / "nodes.parquet")
    pq.write_table(pa.Table.from_pylist(is_a, EDGE_SCHEMA), folder / "kg" / "edges.parquet")
    return folder


def config(world: Path, encoder: Path, output: Path, **changes: Any) -> DistillConfig:
    optim = {"encoder_lr": 2e-3, "lr": 2e-3}
    train = {"epochs": 2, "batch_size": 8, "precision": "fp32", "freeze_word_embeddings": False, "optim": optim}
    base: dict[str, Any] = {
        "output": str(output),
        "corpus": {"types": TYPES},
        "kg": {"entity_table": str(world / "table")},
        "student": student_config(encoder).model_dump(),
        "kg_head_width": 48,
        "train": train,
        "bootstrap": 0,
    }
    return make_config(DistillConfig, base | changes)


def steps(folder: Path) -> int:
    return int(json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"])


def test_names_alone_teach_a_type_and_what_is_none(world: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    stage = {"documents": 600, "epochs": 3, "others": 0.4}
    corpus = {"types": {"Disease": "disease"}}
    report = distill(config(world, tiny_encoder, tmp_path / "run", corpus=corpus, names=stage))
    made = [d for path in (tmp_path / "run/names/documents").glob("*.parquet") for d in read_documents(path)]
    assert len({d.id for d in made}) == len(made) == 600
    assert {d.surface(e) for d in made for e in d.entities} == NAMES["Disease"]
    assert any(name in d.text for d in made for name in NAMES["Chemical"])
    assert report.census["linked"] == report.census["kept"] == sum(len(d.entities) for d in made)
    assert read_checkpoint(report.checkpoint).kg_head is not None
    tagger = Tagger.load(report.checkpoint)
    names = [*DISEASES, *DRUGS]
    found = tagger.tag([f"We report on {name} ." for name in names], link=False)
    said = {name: [entity.text for entity in entities] for name, entities in zip(names, found, strict=True)}
    right = sum(said[name] == ([name] if name in DISEASES else []) for name in names)
    assert right >= 14


def test_names_then_raw_text_then_labels_with_what_the_kg_says_of_types(
    world: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    raw = str(world / "raw.jsonl")
    changes: dict[str, Any] = {
        "corpus": {"types": TYPES, "train": [str(world / "gold.jsonl")]},
        "names": {"documents": 40, "raw": [raw], "frames": [], "bare": 0.0},
        "silver": SILVER | {"raw": [raw]},
        "labels": {"kg": str(world / "kg"), "finer": 2, "min_members": 3, "dropout": 0.3},
        "compare": True,
    }
    run = tmp_path / "run"
    report = distill(config(world, tiny_encoder, run, **changes))
    made = [d for path in (run / "names/documents").glob("*.parquet") for d in read_documents(path)]
    frames = {d.text for d in RAW}
    for document in made:
        assert document.entities
        assert all(document.surface(e) in NAMES[e.type] for e in document.entities)
        outside = document.text
        for entity in reversed(document.entities):
            outside = outside[: entity.start] + "\0" + outside[entity.end :]
        assert all(any(piece in text for text in frames) for piece in outside.split("\0"))
    starts = {name: read_checkpoint(run / name / "start") for name in ("silver/student", "silver/fold-0", "no_kg")}
    taught = read_checkpoint(run / "names/student/best")
    for name, start in starts.items():  # those that judge the names have not been taught them
        same = all(a.equal(b) for a, b in zip(start.student.parameters(), taught.student.parameters(), strict=True))
        assert same == (name == "silver/student")
    assert dict(read_checkpoint(report.checkpoint).types) == TYPES
    # 2 epochs of 6 labels in batches of 8; before them 40 names, 30 texts x (2 folds, 1 epoch, 1 round), 4 copies
    assert steps(run / "no_kg") == 2 + math.ceil((40 + 4 * 30) / 6) + 4
    assert steps(run / "names/student") == 5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"names": {"frames": ["nothing"]}}, r"names\.frames: expected \{\} where a name stands, got 'nothing'"),
        ({"names": {}, "kg": {"source": None}}, r"names\.names: expected nodes\.parquet"),
        ({"names": {"raw": ["nowhere.jsonl"]}}, r"names\.raw: .*nowhere\.jsonl"),
        ({"names": {}, "labels": {}}, r"labels\.kg: expected a folder with nodes\.parquet"),
        ({}, "name a corpus"),
    ],
)
def test_bad_settings_are_refused_by_name(
    world: Path, tiny_encoder: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        distill(config(world, tiny_encoder, tmp_path / "run", **changes))
