"""Overlap resolution against its definition."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from kogner_ray.student.decode import ScoredSpan, resolve

spans_strategy = st.lists(
    st.builds(
        lambda start, width, type_, score: ScoredSpan(start, start + width, type_, score),
        st.integers(0, 12),
        st.integers(0, 5),
        st.integers(0, 2),
        st.floats(0.5, 1),
    ),
    max_size=20,
    unique_by=lambda s: (s.start, s.end, s.type),
).map(lambda spans: sorted(spans, key=lambda s: -s.score))


def allowed(a: ScoredSpan, b: ScoredSpan, nested: bool, multi_label: bool) -> bool:
    words_a, words_b = set(range(a.start, a.end + 1)), set(range(b.start, b.end + 1))
    if words_a == words_b:
        return multi_label
    if not words_a & words_b:
        return True
    return nested and (words_a < words_b or words_b < words_a)


@given(spans=spans_strategy, nested=st.booleans(), multi_label=st.booleans())
def test_kept_spans_do_not_conflict_and_dropped_ones_do(
    spans: list[ScoredSpan], nested: bool, multi_label: bool
) -> None:
    kept = resolve(spans, nested=nested, multi_label=multi_label)
    assert all(allowed(a, b, nested, multi_label) for a, b in combinations(kept, 2))
    for span in spans:
        if span not in kept:
            better = [k for k in kept if spans.index(k) < spans.index(span)]
            assert any(not allowed(span, k, nested, multi_label) for k in better)
    assert kept == sorted(kept, key=lambda s: (s.start, s.end, s.type))
