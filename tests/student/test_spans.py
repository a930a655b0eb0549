"""The packed, folded span head equals the span-by-span one."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.student.spans import SpanHalves, SpanMarker, span_mask


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


@pytest.mark.parametrize("max_width", [1, 4, 9])
def test_score_has_the_gradients_of_the_span_by_span_forward(max_width: int) -> None:
    torch.manual_seed(0)
    marker = SpanMarker(width=8, max_width=max_width, dropout=0.4).double().eval()
    words, prototypes = torch.randn(7, 8).double(), torch.randn(3, 8).double()
    widths, starts = span_mask(torch.tensor([0, 0, 0, 0, 1, 1, 1]), max_width).nonzero(as_tuple=True)
    weights = torch.randn(len(widths), 3).double()

    def gradients(scores: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, ...]:
        inputs = [words.clone().requires_grad_(), prototypes.clone().requires_grad_()]
        return torch.autograd.grad((scores(*inputs) * weights).sum(), [*inputs, *marker.parameters()])

    packed = gradients(lambda w, p: marker.score(marker.halves(w), p)[widths, starts])
    plain = gradients(lambda w, p: marker(w, starts, starts + widths) @ p.T)
    assert all(gradient.abs().max() > 0 for gradient in plain)
    torch.testing.assert_close(packed, plain)


def test_score_has_its_own_gradient_under_dropout() -> None:
    torch.manual_seed(0)
    marker = SpanMarker(width=4, max_width=3, dropout=0.4).double().train()
    inputs = [torch.randn(5, 16).double(), torch.randn(5, 16).double(), torch.randn(2, 4).double()]

    def score(starts: torch.Tensor, ends: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)  # the same mask each time
        return marker.score(SpanHalves(starts, ends), prototypes)

    assert torch.autograd.gradcheck(score, [value.requires_grad_() for value in inputs])


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
