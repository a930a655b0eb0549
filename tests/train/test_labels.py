"""Label texts from a KG: what they are, how they are drawn, and what a step makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_corpus import TYPES, make_checkpoint, make_documents

from kogner_ray.kg.embeddings import EntityTable
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA
from kogner_ray.kg.taxonomy import Taxonomy
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.windows import Windower
from kogner_ray.train.examples import Example, ExampleMaker
from kogner_ray.train.labels import LabelKnowledge, LabelTexts, finer_types, label_texts
from kogner_ray.train.learner import Learner
from kogner_ray.train.settings import LossConfig, TrainConfig

NODES = [
    ("d0", "disease", "Disease", ["illness", "ailment", "sickness"], "A harmful state. It is bad."),
    ("d1", "lung disease", "Disease", [], None),
    ("d2", "asthma", "Disease", [], None),
    ("d3", "fibrosis", "Disease", [], None),
    ("d4", "gout", "Disease", [], None),
    ("d5", "arthritis", "Disease", [], None),
    ("s1", "fever", "SideEffect", [], None),
    ("s2", "chill", "SideEffect", [], None),
    ("c1", "aspirin", "Chemical", [], None),
]
IS_A = [("d1", "d0"), ("d2", "d1"), ("d3", "d1"), ("d4", "d5"), ("d5", "d0")]
TAXONOMY = Taxonomy.of(
    pa.Table.from_pylist([dict(zip(NODE_SCHEMA.names, row, strict=True)) for row in NODES], NODE_SCHEMA),
    pa.Table.from_pylist([{"head": a, "relation": "is_a", "tail": b} for a, b in IS_A], EDGE_SCHEMA),
    ("is_a",),
)


def texts_of(**settings: object) -> dict[str, tuple[str, ...]]:
    config = LabelKnowledge.model_validate(settings)
    return dict(label_texts(config, {"Chemical": "drug", "Disease": "ill"}, TAXONOMY, LinkerConfig()).texts)


def test_the_kg_gives_a_type_its_names_definitions_kin_and_kinds() -> None:
    found = texts_of(general=2)
    assert found["Disease"] == (
        "ill",
        "disease",
        "side effect",
        "illness",
        "ailment",
        "A harmful state.",
        "lung disease",
        "ill, a kind of disease",
        "ill, not drug",
    )
    assert found["Chemical"] == ("drug", "chemical", "drug, not ill")
    assert texts_of(sources=["types"])["Disease"] == ("ill", "disease", "side effect")
    assert texts_of(sources=["definitions"], max_words=2, general=1)["Disease"] == ("ill", "A harmful")


def test_finer_types_are_those_of_some_but_not_most_entities() -> None:
    rows = [{"id": row[0], "name": row[1], "type": row[2], "synonyms": []} for row in NODES]
    table = EntityTable(pa.Table.from_pylist(rows), {}, {})
    config = LabelKnowledge(finer=5, min_members=2)
    found = finer_types(config, {"Chemical": "drug", "Disease": "ill"}, TAXONOMY, LinkerConfig(), table)
    # of 8: 2 side effects, 2 lung diseases; "disease" has 5, "arthritis" one
    assert list(found.texts.values()) == [
        ("lung disease", "lung disease, a kind of ill", "lung disease, not side effect"),
        ("side effect", "side effect, a kind of ill", "side effect, not lung disease"),
    ]
    assert found.parents == {2: 1, 3: 1}
    assert {NODES[row][1]: columns for row, columns in found.of_row.items()} == {
        "asthma": (2,),
        "fibrosis": (2,),
        "fever": (3,),
        "chill": (3,),
    }
    assert list(found.columns(6, within=1)) == [3]
    assert list(found.columns(6, within=0)) == list(found.columns(0, within=1)) == []


def test_draws_are_fair_the_same_for_a_seed_and_leave_a_type() -> None:
    texts = LabelTexts(texts={"a": ("a", "b", "c"), "d": ("d",)}, own=0.4, dropout=0.6)
    draws = [texts.draw(seed) for seed in range(3000)]
    numbers = np.stack([drawn for drawn, _ in draws])
    assert np.bincount(numbers[:, 0]) / len(draws) == pytest.approx([0.4, 0.3, 0.3], abs=0.03)
    assert not numbers[:, 1].any()
    kept = np.stack([kept for _, kept in draws])
    assert kept.any(axis=1).all()
    assert kept.mean() == pytest.approx(0.4 + 0.36 / 2, abs=0.03)
    again = texts.draw(7)
    assert (again[0] == draws[7][0]).all() and (again[1] == draws[7][1]).all()
    whole = LabelTexts(texts={"a": ("a", "b")}, own=1.0, dropout=0.0)
    assert all(whole.draw(seed)[0][0] == 0 and whole.draw(seed)[1].all() for seed in range(50))


@pytest.fixture(scope="module")
def student(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder)


@pytest.fixture(scope="module")
def examples(student: Checkpoint) -> list[Example]:
    windower = Windower(student.tokenizer, max_tokens=64)
    return ExampleMaker(windower, types=list(TYPES), max_width=6).make(make_documents(6))[0]


def loss(student: Checkpoint, examples: list[Example], labels: LabelTexts | None, seed: int, **train: object) -> float:
    config = TrainConfig.model_validate({"precision": "fp32", **train})
    learner = Learner(student, config, LossConfig(), entities=None, device=torch.device("cpu"), labels=labels)
    learner.draw_labels(seed)
    return float(learner.backward(examples, spans=100, links=0)[1])


@pytest.mark.parametrize("trained", [False, True])
def test_a_step_reads_the_texts_that_were_drawn(student: Checkpoint, examples: list[Example], trained: bool) -> None:
    own = {name: (text,) for name, text in TYPES.items()}
    plain = loss(student, examples, None, 0, train_labels_encoder=trained)
    only = LabelTexts(texts=own, own=0.0, dropout=0.0)
    assert loss(student, examples, only, 0, train_labels_encoder=trained) == pytest.approx(plain, rel=1e-6)
    swapped = LabelTexts(texts={"Chemical": ("drug", "aspirin"), "Disease": ("disease", "gout")}, own=0.0, dropout=0.0)
    renamed = Checkpoint(
        student.student, student.tokenizer, student.labels_tokenizer, {"Chemical": "aspirin", "Disease": "gout"}
    )
    expected = loss(renamed, examples, None, 0, train_labels_encoder=trained)
    assert loss(student, examples, swapped, 0, train_labels_encoder=trained) == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(plain, rel=1e-4)


def test_types_that_are_left_out_are_not_learnt_from(student: Checkpoint, examples: list[Example]) -> None:
    own = {name: (text,) for name, text in TYPES.items()}
    texts = LabelTexts(texts=own, own=1.0, dropout=0.5)
    by_kept = {tuple(texts.draw(seed)[1].tolist()): loss(student, examples, texts, seed) for seed in range(20)}
    assert set(by_kept) == {(True, True), (True, False), (False, True)}
    assert by_kept[True, False] + by_kept[False, True] == pytest.approx(by_kept[True, True], rel=1e-5)


def test_finer_columns_are_scored_beside_the_types(student: Checkpoint, examples: list[Example]) -> None:
    own = {name: (text,) for name, text in TYPES.items()}
    more = LabelTexts(texts={**own, "Disease: x": ("heart failure",)}, own=1.0, dropout=0.0)
    plain = loss(student, examples, None, 0)
    assert loss(student, examples, more, 0) == pytest.approx(plain, rel=1e-6)  # no example knows of it
    finer = [Example(e.document, e.window, e.spans, np.array([0, 1, 2]), e.links) for e in examples]
    assert loss(student, finer, more, 0) > plain
