"""Losses against plain loops over spans and types."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import make_table

from kogner_ray.kg.embeddings import whitened
from kogner_ray.student.windows import Window
from kogner_ray.train.examples import Example
from kogner_ray.train.losses import Targets, contrastive_loss, distillation_loss, language_loss, make_targets
from kogner_ray.train.targets import EntityTargets

K, C = 3, 4


def example(n_words: int, spans: list[tuple[int, int, int]], annotated: list[int], name: str = "d") -> Example:
    window = Window(0, np.arange(n_words + 2, dtype=np.int32), np.arange(1, n_words + 1, dtype=np.int32))
    rows = np.array(spans, dtype=np.int32).reshape(-1, 3)
    return Example(name, window, rows, np.array(annotated, dtype=np.int32), np.zeros((0, 3), dtype=np.int32))


def packed(examples: list[Example]) -> tuple[torch.Tensor, Targets]:
    lengths = [e.window.n_words for e in examples]
    texts_W = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    offsets = np.cumsum([0, *lengths]).tolist()
    return texts_W, make_targets(examples, offsets, n_types=C)


def plain_loss(logits_KWC: torch.Tensor, examples: list[Example]) -> float:
    total, offset = 0.0, 0
    for one in examples:
        gold = {tuple(row) for row in one.spans.tolist()}
        for first in range(one.window.n_words):
            for last in range(first, min(first + K, one.window.n_words)):
                for kind in range(C):
                    is_gold = (first, last, kind) in gold
                    if kind in one.annotated or is_gold:
                        p = 1 / (1 + math.exp(-logits_KWC[last - first, offset + first, kind].item()))
                        total -= math.log(p if is_gold else 1 - p)
        offset += one.window.n_words
    return total


@st.composite
def examples_strategy(draw: st.DrawFn) -> list[Example]:
    made = []
    for _ in range(draw(st.integers(1, 3))):
        n_words = draw(st.integers(1, 6))
        starts = st.integers(0, n_words - 1)
        spans = draw(st.lists(st.tuples(starts, st.integers(0, K - 1), st.integers(0, C - 1)), max_size=4, unique=True))
        annotated = draw(st.lists(st.integers(0, C - 1), unique=True))
        made.append(example(n_words, [(s, s + k, c) for s, k, c in spans if s + k < n_words], annotated))
    return made


@settings(max_examples=60, deadline=None)
@given(examples=examples_strategy(), seed=st.integers(0, 999))
def test_language_loss_equals_a_loop_over_spans_and_types(examples: list[Example], seed: int) -> None:
    texts_W, targets = packed(examples)
    logits_KWC = torch.randn(K, len(texts_W), C, generator=torch.Generator().manual_seed(seed))
    loss = language_loss(logits_KWC, texts_W, targets)
    assert loss.item() == pytest.approx(plain_loss(logits_KWC, examples), rel=1e-4, abs=1e-5)


def test_a_type_that_a_document_does_not_annotate_gets_no_gradient() -> None:
    texts_W, targets = packed([example(4, [(0, 1, 2)], [2]), example(3, [], [0, 1, 2, 3])])
    logits = torch.randn(K, 7, C, requires_grad=True)
    language_loss(logits, texts_W, targets).backward()
    assert logits.grad is not None
    assert not logits.grad[:, :4, [0, 1, 3]].any()
    assert logits.grad[:, :4, 2].any()
    assert logits.grad[0, 4:].all()


def test_a_mention_of_a_type_that_is_not_annotated_exhaustively_is_still_learnt() -> None:
    texts_W, targets = packed([example(4, [(1, 2, 3)], [0])])
    logits = torch.zeros(K, 4, C, requires_grad=True)
    language_loss(logits, texts_W, targets).backward()
    assert logits.grad is not None
    assert logits.grad[..., 3].nonzero().tolist() == [[1, 1]]
    assert logits.grad[1, 1, 3] < 0


def test_nothing_that_overlaps_an_unknown_stretch_is_a_negative() -> None:
    examples = [example(5, [(2, 2, -1), (1, 2, 0)], [0, 1, 2, 3]), example(2, [], [0, 1, 2, 3])]
    texts_W, targets = packed(examples)
    logits = torch.zeros(K, 7, C, requires_grad=True)
    language_loss(logits, texts_W, targets).backward()
    assert logits.grad is not None
    inside = [[0, 1, 3, 4, 5, 6], [0, 3, 5], []]  # first words of the spans of each width that are free of word 2
    touched = [[w for w in range(7) if logits.grad[k, w, 1:].any()] for k in range(K)]
    assert touched == inside
    assert logits.grad[..., 0].nonzero().tolist() == [[0, w] for w in inside[0]] + [[1, 0], [1, 1], [1, 3], [1, 5]]
    assert logits.grad[1, 1, 0] < 0  # the labelled span counts, although it overlaps


def test_spans_across_texts_and_past_the_end_are_ignored() -> None:
    texts_W, targets = packed([example(2, [], [0, 1, 2, 3]), example(1, [], [0, 1, 2, 3])])
    logits = torch.randn(K, 3, C, requires_grad=True)
    language_loss(logits, texts_W, targets).backward()
    assert logits.grad is not None
    touched = logits.grad.abs().sum(dim=2) > 0
    assert touched.tolist() == [[True, True, True], [True, False, False], [False, False, False]]


def test_bf16_logits_are_summed_in_fp32() -> None:
    texts_W, targets = packed([example(5, [(0, 0, 1)], [0, 1, 2, 3])] * 30)
    logits = torch.randn(K, 150, C).bfloat16()
    loss = language_loss(logits, texts_W, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(language_loss(logits.float(), texts_W, targets).item(), rel=1e-6)


def test_distillation_loss_is_the_mean_over_columns_summed_over_spans() -> None:
    projected, entities = torch.randn(3, 5), torch.randn(3, 5)
    plain = sum(float(np.mean((projected[m] - entities[m]).numpy() ** 2)) for m in range(3))
    assert distillation_loss(projected, entities).item() == pytest.approx(plain, rel=1e-5)
    assert distillation_loss(entities, entities).item() == 0
    assert distillation_loss(projected.bfloat16(), entities).dtype == torch.float32


def test_contrastive_loss_is_the_surprise_of_the_right_entity_among_the_candidates() -> None:
    generator = torch.Generator().manual_seed(0)
    projected, entities = torch.randn(3, 5, generator=generator), torch.randn(9, 5, generator=generator)
    rows, others = torch.tensor([4, 2, 4]), torch.tensor([2, 7, 7])
    loss = contrastive_loss(projected, rows, entities.__getitem__, others, temperature=0.5)
    plain = 0.0
    for span, row in zip(projected, rows.tolist(), strict=True):
        cosines = {c: torch.cosine_similarity(span, entities[c], dim=0).item() for c in (2, 4, 7)}
        plain -= math.log(math.exp(cosines[row] / 0.5) / sum(math.exp(value / 0.5) for value in cosines.values()))
    assert loss.item() == pytest.approx(plain, rel=1e-5)
    assert contrastive_loss(entities[rows] * 3, rows, entities.__getitem__, others, temperature=0.01).item() < 0.01


def test_siblings_are_of_the_same_type_and_all_of_them_come() -> None:
    table = make_table()
    kinds = table.entities["type"].to_pylist()
    targets = EntityTargets(table, ("text", "graph"), device=torch.device("cpu"))
    rows = torch.tensor([0, 12])
    torch.manual_seed(0)
    siblings = targets.siblings(rows, 200)
    assert [kinds[row] for row in siblings.tolist()] == [kinds[0]] * 200 + [kinds[12]] * 200
    assert set(siblings.tolist()) == set(range(16))
    assert targets.rows(rows).equal(table.stacked(("text", "graph"))[rows])


def test_whitened_columns_are_uncorrelated() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(500, 4, generator=generator) @ torch.randn(4, 4, generator=generator)
    base = make_table()
    table = whitened(replace(base, matrices={"text": matrix}))
    white = table.matrices["text"]
    assert torch.allclose(white.T @ white / 500, torch.eye(4), atol=0.05)
    assert table.provenance["whitened"] is True


def test_targets_follow_the_packed_words() -> None:
    one = example(4, [(1, 2, 3)], [0])
    other = Example("e", one.window, one.spans, one.annotated, np.array([[0, 1, 7]], dtype=np.int32))
    _, targets = packed([one, other])
    assert targets.positive_P3.tolist() == [[1, 1, 3], [1, 5, 3]]
    assert targets.linked_M3.tolist() == [[4, 5, 7]]
    assert targets.annotated_BC.tolist() == [[True, False, False, False]] * 2


def test_a_span_and_what_it_speaks_against_count_by_its_weight() -> None:
    spans = [(1, 2, 0), (4, 4, 1)]
    certain = example(6, spans, [0, 1, 2, 3])
    weighed = replace(certain, weights=np.array([0.25, 1.0], dtype=np.float32))
    logits = torch.randn(K, 6, C, generator=torch.Generator().manual_seed(0))
    plain, halved = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    for leaf, one in ((plain, certain), (halved, weighed)):
        texts_W, targets = packed([one])
        language_loss(leaf, texts_W, targets).backward()
    assert plain.grad is not None and halved.grad is not None
    for k in range(K):
        for first in range(6 - k):
            overlaps = first <= 2 and first + k >= 1
            expected = plain.grad[k, first] * (0.25 if overlaps else 1)
            # a certain mention counts whole, whatever overlaps it
            torch.testing.assert_close(halved.grad[k, first], expected)


def test_a_certain_mention_counts_whole_beside_one_that_is_not() -> None:
    one = replace(example(3, [(0, 1, 0), (1, 2, 1)], [0, 1]), weights=np.array([1.0, 0.5], dtype=np.float32))
    texts_W, targets = packed([one])
    logits = torch.zeros(K, 3, C, requires_grad=True)
    language_loss(logits, texts_W, targets).backward()
    assert logits.grad is not None
    assert logits.grad[1, 0].tolist() == [-0.5, 0.25, 0, 0]
    assert logits.grad[1, 1].tolist() == [0.25, -0.25, 0, 0]
    assert logits.grad[0, :, 0].tolist() == [0.5, 0.25, 0.25]


def test_types_that_are_left_out_of_a_step_get_no_gradient() -> None:
    texts_W, targets = packed([example(4, [(0, 1, 2), (3, 3, 1)], [0, 1, 2, 3])])
    logits = torch.randn(K, 4, C, requires_grad=True)
    language_loss(logits, texts_W, targets.of_types(torch.tensor([True, False, True, False]))).backward()
    assert logits.grad is not None
    assert not logits.grad[..., [1, 3]].any()
    assert logits.grad[0, :, [0, 2]].all()
