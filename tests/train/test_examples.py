"""Examples: every annotation is counted, windows keep mentions whole and cover every word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import make_documents, make_table

from kogner_ray.data.spans import UNKNOWN, WEIGHT, Document, Entity
from kogner_ray.encoder import load_tokenizer
from kogner_ray.errors import DataError
from kogner_ray.kg.linking import Linker
from kogner_ray.student.windows import Windower
from kogner_ray.train.examples import UNKNOWN_TYPE, Example, ExampleMaker, to_batch
from kogner_ray.train.finer import FinerTypes
from kogner_ray.train.store import spill

FATES = {"kept", "misaligned", "wide", "cut", "blank", "discontinuous", "other_type", "unknown"}
WORDS = st.lists(st.sampled_from(["gout", "of", "thrombocytopenia", "lung-cancer", "(", "é"]), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def windower(tiny_encoder: Path) -> Windower:
    return Windower(load_tokenizer(str(tiny_encoder)), max_tokens=24)


def maker(windower: Windower, *, max_width: int = 6, linker: Linker | None = None) -> ExampleMaker:
    return ExampleMaker(windower, types=["Chemical", "Disease"], max_width=max_width, linker=linker)


def document(text: str, *entities: Entity, annotated: tuple[str, ...] | None = None) -> Document:
    return Document("d", text, entities, annotated)


@st.composite
def documents_strategy(draw: st.DrawFn) -> Document:
    text = " ".join(draw(WORDS))
    entities = []
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 50)))
        kind = draw(st.sampled_from(["Chemical", "Disease", "Gene"]))
        pieces = ((start, start + 1), (end - 1, end)) if end - start > 2 and draw(st.booleans()) else ()
        entities.append(Entity(start, end, kind, fragments=pieces))
    return document(text, *entities)


@settings(max_examples=150, deadline=None)
@given(made=documents_strategy(), max_width=st.integers(1, 8))
def test_every_annotation_has_one_fate_and_every_word_one_window(
    windower: Windower, made: Document, max_width: int
) -> None:
    examples, census = maker(windower, max_width=max_width).make([made])
    assert set(census) <= FATES
    assert census.total() == len(made.entities)
    trained = sum(len(example.spans) for example in examples)
    assert trained <= census["kept"] + census["misaligned"]  # the same words and type twice is one span
    n_words = 0
    for example in examples:
        assert example.window.first_word == n_words
        assert example.window.n_tokens <= 24
        assert all(0 <= i <= j < example.window.n_words and j - i < max_width for i, j, _ in example.spans)
        n_words += example.window.n_words
    assert n_words == len(windower.tokenise([made.text])[0].words)


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 6)), min_size=1, max_size=12))
def test_windows_never_cut_a_flat_mention(windower: Windower, lengths: list[tuple[int, int]]) -> None:
    text, entities = "", []
    for gap, width in lengths:
        text += "of " * gap
        entities.append(Entity(len(text), len(text) + len("gout " * width) - 1, "Disease"))
        text += "gout " * width
    examples, census = maker(windower).make([document(text, *entities)])
    assert census == {"kept": len(entities)}
    assert sum(len(example.spans) for example in examples) == len(entities)


def test_overlapping_mentions_move_the_cut_until_none_is_cut(windower: Windower) -> None:
    text = " ".join(["of"] * 17 + ["gout"] * 10)  # 22 words fit a window
    words = [(17, 19), (19, 21), (21, 23)]  # each overlaps the next, the last crosses word 22
    entities = [
        Entity(text.index("gout") + 5 * (a - 17), text.index("gout") + 5 * (b - 16) - 1, "Disease") for a, b in words
    ]
    examples, census = maker(windower).make([document(text, *entities)])
    assert census == {"kept": 3}
    assert [example.window.first_word for example in examples] == [0, 17]
    assert examples[1].spans.tolist() == [[0, 2, 1], [2, 4, 1], [4, 6, 1]]


def test_mentions_that_no_window_can_hold_together_are_counted_as_cut(windower: Windower) -> None:
    text = "gout " * 60
    chain = [Entity(5 * first, 5 * (first + 6) - 1, "Disease") for first in range(0, 50, 5)]
    examples, census = maker(windower).make([document(text, *chain)])
    assert census["cut"] > 0
    assert census["kept"] + census["cut"] == len(chain)
    assert sum(len(example.spans) for example in examples) == census["kept"]


def test_each_fate(windower: Windower) -> None:
    text = "aspirin-like lung cancer \t in most patients for ten days were treated"
    cases = {
        "kept": Entity(13, 24, "Disease"),
        "misaligned": Entity(0, 7, "Chemical"),
        "wide": Entity(30, 69, "Disease"),
        "blank": Entity(24, 27, "Disease"),
        "discontinuous": Entity(13, 38, "Disease", fragments=((13, 17), (30, 38))),
        "other_type": Entity(13, 17, "Gene"),
    }
    assert text[24:27] == " \t "
    for fate, entity in cases.items():
        (example, *_), census = maker(windower).make([document(text, entity)])
        assert census == {fate: 1}
        assert len(example.spans) == (fate in {"kept", "misaligned"})
    (example, *_), _ = maker(windower).make([document(text, cases["misaligned"])])
    assert example.spans.tolist() == [[0, 0, 0]]  # the whole word


def test_types_that_are_not_annotated_are_unknown(windower: Windower) -> None:
    documents = [document("gout", annotated=kinds) for kinds in (None, ("Disease", "Gene"), ())]
    examples, _ = maker(windower).make(documents)
    assert [example.annotated.tolist() for example in examples] == [[0, 1], [1], []]


def test_unknown_stretches_are_no_mentions_and_not_linked(windower: Windower) -> None:
    made = document("aspirin for lung cancer", Entity(0, 7, UNKNOWN), Entity(12, 23, "Disease"))
    (example,), census = maker(windower, linker=Linker.from_table(make_table().entities)).make([made])
    assert example.spans.tolist() == [[0, 0, UNKNOWN_TYPE], [2, 3, 1]]
    assert example.annotated.tolist() == [0, 1]
    assert census == {"unknown": 1, "kept": 1, "linked": 1}
    assert example.links[:, :2].tolist() == [[2, 3]]


def test_exact_links_become_targets(windower: Windower) -> None:
    linker = Linker.from_table(make_table().entities)
    text = "aspirin and metformin for something"
    entities = Entity(0, 7, "Chemical"), Entity(12, 21, "Disease"), Entity(26, 35, "Disease")
    (example,), census = maker(windower, linker=linker).make([document(text, *entities)])
    assert census == {"kept": 3, "linked": 1}  # metformin is no disease, something is nothing
    assert example.links.tolist() == [[0, 0, 0]]


def test_documents_without_words_make_no_example(windower: Windower) -> None:
    assert maker(windower).make([document(""), document(" \n\t")]) == ([], {})


def same(one: Example, other: Example) -> bool:
    arrays = [(e.window.input_ids, e.window.first_tokens, e.spans, e.annotated, e.links) for e in (one, other)]
    return one.document == other.document and all(map(np.array_equal, *arrays))


def test_a_store_gives_examples_back_in_an_order_of_its_own(windower: Windower, tmp_path: Path) -> None:
    documents = make_documents(20)
    documents += [Document("d003", f"gout of {n}", annotated_types=("Disease",)) for n in "abc"]  # one id, four texts
    examples, _ = maker(windower, linker=Linker.from_table(make_table().entities)).make(documents)
    forth = spill([to_batch(examples[:7]), to_batch(examples[7:])], tmp_path / "forth.arrow")
    back = spill([to_batch(examples[::-1])], tmp_path / "back.arrow")
    assert len(forth) == len(examples) == 23
    assert all(same(forth[row], back[row]) for row in range(len(forth)))
    assert all(any(same(forth[row], example) for row in range(len(forth))) for example in examples)
    assert forth.n_links.sum() == sum(len(example.links) for example in examples) > 0
    assert forth.n_words.tolist() == [forth[row].window.n_words for row in range(len(forth))]
    assert forth.n_tokens.tolist() == [forth[row].window.n_tokens for row in range(len(forth))]
    widths = [sum(min(6, n - first) for first in range(n)) for n in forth.n_words]
    assert forth.n_spans(6).tolist() == widths


def test_an_empty_store(tmp_path: Path) -> None:
    store = spill([], tmp_path / "none.arrow")
    assert len(store) == len(store.n_words) == len(store.n_spans(6)) == 0


def test_weights_of_mentions_reach_the_store(windower: Windower, tmp_path: Path) -> None:
    weighed = [
        Entity(0, 4, "Disease", attributes={WEIGHT: "0.25"}),
        Entity(8, 12, "Disease"),
        Entity(8, 12, "Disease", attributes={WEIGHT: "0.5"}),  # said twice: the surer counts
    ]
    made, _ = maker(windower).make([document("gout of gout", *weighed), document("gout", Entity(0, 4, "Disease"))])
    found = spill([to_batch(made)], tmp_path / "e.arrow")
    assert sorted(found[row].weights.tolist() for row in range(2)) == [[], [0.25, 1.0]]


@pytest.mark.parametrize("said", ["2", "-0.1", "much"])
def test_a_weight_that_is_none_is_refused(windower: Windower, said: str) -> None:
    entity = Entity(0, 4, "Disease", attributes={WEIGHT: said})
    with pytest.raises(DataError, match=f"'d'.*expected 0 to 1, got '{said}'"):
        maker(windower).make([document("gout", entity)])


def test_linked_mentions_have_finer_types_and_others_leave_these_unknown(windower: Windower) -> None:
    table = make_table().entities
    gout = table["name"].to_pylist().index("gout")
    finer = FinerTypes(parents={2: 1, 3: 1, 4: 0}, of_row={gout: (2, 4)}, texts={"a": ("a",), "b": ("b",), "c": ("c",)})
    both = ExampleMaker(
        windower, types=["Chemical", "Disease"], max_width=6, linker=Linker.from_table(table), finer=finer
    )
    known, unknown = Entity(0, 4, "Disease"), Entity(8, 14, "Disease")
    (linked,), _ = both.make([document("gout of nobody", known)])
    assert linked.spans.tolist() == [[0, 0, 1], [0, 0, 2]]  # 4 is no kind of disease
    assert linked.annotated.tolist() == [0, 1, 2, 3, 4]
    (partly,), _ = both.make([document("gout of nobody", known, unknown)])
    assert partly.spans.tolist() == [[0, 0, 1], [0, 0, 2], [2, 2, 1]]
    assert partly.annotated.tolist() == [0, 1, 4]
    (elsewhere,), _ = both.make([document("gout", known, annotated=("Chemical",))])
    assert elsewhere.annotated.tolist() == [0, 4]
