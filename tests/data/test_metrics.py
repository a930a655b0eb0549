"""Strict span metrics against seqeval, against hand-counted nested cases, and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report

from kogner_ray.data.metrics import Counts, Span, conll_report, count_spans, document_counts, resampled_f1, score
from kogner_ray.errors import UnsupportedAnnotation

_TYPES = st.sampled_from(["Chemical", "Disease", "cell-type"])
_LENGTH = 12


@st.composite
def _flat(draw: st.DrawFn) -> list[Span]:
    cuts = sorted(draw(st.sets(st.integers(0, _LENGTH), max_size=8)))
    pieces = zip(cuts, cuts[1:], strict=False)
    return [(start, end, draw(_TYPES)) for start, end in pieces if draw(st.booleans())]


def _iob2(spans: list[Span]) -> list[str]:
    tags = ["O"] * _LENGTH
    for start, end, kind in spans:
        tags[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return tags


_CORPUS = st.lists(st.tuples(_flat(), _flat()), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(_CORPUS)
def test_equal_to_seqeval_on_flat_spans(corpus: list[tuple[list[Span], list[Span]]]) -> None:
    gold, predicted = [g for g, _ in corpus], [p for _, p in corpus]
    report = score(gold, predicted)
    if not report.per_type:
        return
    theirs = classification_report(
        [_iob2(g) for g in gold], [_iob2(p) for p in predicted], output_dict=True, zero_division=0
    )
    assert set(theirs) == {*report.per_type, "micro avg", "macro avg", "weighted avg"}
    for name, counts in [*report.per_type.items(), ("micro avg", report.micro)]:
        assert counts.precision == pytest.approx(theirs[name]["precision"])
        assert counts.recall == pytest.approx(theirs[name]["recall"])
        assert counts.f1 == pytest.approx(theirs[name]["f1-score"])
        assert counts.n_gold == theirs[name]["support"]
    assert report.macro_f1 == pytest.approx(theirs["macro avg"]["f1-score"])


@settings(max_examples=50, deadline=None)
@given(_CORPUS)
def test_conll_report_is_seqevals_own_text(corpus: list[tuple[list[Span], list[Span]]]) -> None:
    gold, predicted = [g for g, _ in corpus], [p for _, p in corpus]
    if not any(gold) and not any(predicted):
        assert "no spans" in conll_report(gold, predicted)
        return
    expected = classification_report([_iob2(g) for g in gold], [_iob2(p) for p in predicted], digits=4, zero_division=0)
    assert conll_report(gold, predicted) == expected


def test_nested_spans_count_one_by_one() -> None:
    gold = [{(0, 20, "protein"), (0, 5, "DNA"), (6, 9, "protein")}]
    predicted = [{(0, 20, "protein"), (0, 5, "protein"), (6, 9, "protein"), (6, 10, "protein")}]
    report = score(gold, predicted)
    assert report.per_type == {"DNA": Counts(0, 0, 1), "protein": Counts(2, 4, 2)}
    assert report.micro == Counts(2, 4, 3)
    assert (report.micro.precision, report.micro.recall) == (0.5, pytest.approx(2 / 3))
    assert report.macro_f1 == pytest.approx((0 + 2 / 3) / 2)


def test_same_offsets_with_two_types_are_two_spans_and_duplicates_are_one() -> None:
    counts = count_spans([(0, 4, "A"), (0, 4, "B"), (0, 4, "A")], [(0, 4, "A"), (0, 4, "A")])
    assert counts == {"A": Counts(1, 1, 1), "B": Counts(0, 0, 1)}


@pytest.mark.parametrize(
    ("gold", "predicted", "micro"),
    [
        ([], [], Counts()),
        ([[]], [[]], Counts()),
        ([[(0, 1, "A")]], [[]], Counts(0, 0, 1)),
        ([[]], [[(0, 1, "A")]], Counts(0, 1, 0)),
    ],
)
def test_nothing_to_score_is_zero(gold: list[list[Span]], predicted: list[list[Span]], micro: Counts) -> None:
    report = score(gold, predicted, bootstrap=10)
    assert report.micro == micro
    assert report.micro.f1 == report.macro_f1 == 0.0
    assert report.micro_interval == (0.0, 0.0)


def test_types_restricts_and_lists() -> None:
    report = score([[(0, 1, "A"), (2, 3, "B")]], [[(0, 1, "A"), (4, 5, "B")]], types=["A", "C"])
    assert report.per_type == {"A": Counts(1, 1, 1), "C": Counts()}
    assert report.micro.f1 == report.macro_f1 == 1.0


def test_unaligned_documents_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gold documents \(2\), got 1"):
        score([[], []], [[]])


def test_conll_report_refuses_overlap_by_name() -> None:
    with pytest.raises(UnsupportedAnnotation, match=r"document 1: DNA \[2, 4\) overlaps"):
        conll_report([[], [(0, 5, "protein"), (2, 4, "DNA")]], [[], []])


def _random_corpus(seed: int, n: int) -> tuple[list[list[Span]], list[list[Span]]]:
    draw = np.random.default_rng(seed)
    gold: list[list[Span]] = [[(i, i + 1, "A") for i in range(draw.integers(0, 6))] for _ in range(n)]
    predicted = [[span for span in spans if draw.random() < 0.7] + [(90, 91, "A")] for spans in gold]
    return gold, predicted


def test_bootstrap_interval_holds_the_score_and_narrows_with_more_documents() -> None:
    widths = []
    for n in (50, 800):
        report = score(*_random_corpus(1, n), bootstrap=500, seed=3)
        assert report.micro_interval is not None
        low, high = report.micro_interval
        assert low < report.micro.f1 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_bootstrap_is_seeded_paired_and_equals_a_plain_loop() -> None:
    gold, predicted = _random_corpus(2, 40)
    counts = document_counts(gold, predicted)
    ours = resampled_f1(counts, 300, seed=5)
    assert np.array_equal(ours, resampled_f1(counts, 300, seed=5))
    assert np.array_equal(resampled_f1(counts[:, [0, 2, 1]], 300, seed=5), ours)  # same documents drawn, F1 symmetric
    weights = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), size=300)
    for row, f1 in zip(weights, ours, strict=True):
        correct, n_predicted, n_gold = (row[:, None] * counts).sum(0)
        assert f1 == pytest.approx(2 * correct / (n_predicted + n_gold))
