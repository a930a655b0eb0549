"""The packed, folded span head equals the span-by-span one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.student.spans import SpanMarker, span_mask


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    max_width=st.integers(1, 12),
    n_types=st.integers(1, 5),
    seed=st.integers(0, 10_000),
)
def test_score_equals_span_by_span_forward(lengths: list[int], max_width: int, n_types: int, seed: int) -> None:
    torch.manual_seed(seed)
    marker = SpanMarker(width=8, max_width=max_width, dropout=0.4).eval()
    words = torch.randn(sum(lengths), 8)
    prototypes = torch.randn(n_types, 8)
    texts = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    mask = span_mask(texts, max_width)

    logits = marker.score(marker.halves(words), prototypes)

    widths, starts = mask.nonzero(as_tuple=True)
    plain = marker(words, starts, starts + widths) @ prototypes.T
    assert logits.shape == (max_width, sum(lengths), n_types)
    torch.testing.assert_close(logits[widths, starts], plain, atol=1e-5, rtol=1e-5)
    assert len(widths) == sum(n - k for n in lengths for k in range(min(max_width, n)))


def test_represent_equals_forward_on_chosen_spans() -> None:
    torch.manual_seed(0)
    marker = SpanMarker(width=16, max_width=4, dropout=0.4).eval()
    words = torch.randn(7, 16)
    starts, ends = torch.tensor([0, 3, 6]), torch.tensor([2, 3, 6])
    torch.testing.assert_close(marker.represent(marker.halves(words), starts, ends), marker(words, starts, ends))


def test_dropout_keeps_the_expected_score() -> None:
    torch.manual_seed(0)
    marker = SpanMarker(width=16, max_width=3, dropout=0.3)
    words, prototypes = torch.randn(6, 16), torch.randn(2, 16)
    with torch.no_grad():
        halves = marker.eval().halves(words)
        exact = marker.score(halves, prototypes)
        mean = torch.stack([marker.train().score(halves, prototypes) for _ in range(3000)]).mean(0)
    assert not torch.allclose(marker.score(halves, prototypes), exact)
    torch.testing.assert_close(mean, exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("max_width", [1, 3, 20])
def test_spans_never_cross_texts(max_width: int) -> None:
    mask = span_mask(torch.tensor([0, 0, 0, 1, 2, 2]), max_width)
    for width, start in mask.nonzero().tolist():
        assert [0, 0, 0, 1, 2, 2][start] == [0, 0, 0, 1, 2, 2][start + width]
