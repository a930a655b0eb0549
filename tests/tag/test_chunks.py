"""Chunks: where an input is cut depends on the input and the settings alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError
from kogner_ray.tag.chunks import ChunkConfig, cut_chunks

RECORDS = st.lists(
    st.one_of(
        st.integers(0, 30).map(lambda n: Document("d", "x" * n)),
        st.just(DataError("expected a document", line=7)),
    ),
    max_size=40,
)


@given(RECORDS, st.integers(1, 9), st.integers(1, 60))
def test_every_record_is_in_one_chunk_in_order(records: list[Document | DataError], most: int, characters: int) -> None:
    chunks = list(cut_chunks(records, ChunkConfig(records=most, characters=characters)))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    found: list[int] = []
    for chunk in chunks:
        numbers = [number for number, _ in chunk.documents] + [failure.record for failure in chunk.failures]
        lengths = [len(document.text) for _, document in chunk.documents]
        assert 1 <= len(numbers) <= most
        assert sum(lengths[:-1]) < characters
        assert all(document is records[number] for number, document in chunk.documents)
        assert all(isinstance(records[failure.record], DataError) for failure in chunk.failures)
        found += sorted(numbers)
    assert found == list(range(len(records)))


def test_bytes_are_those_read_for_the_chunk() -> None:
    position = 0

    def records() -> list[Document]:
        nonlocal position
        for size in (10, 20, 30, 5):
            position += size
            yield Document("d", "x")

    chunks = cut_chunks(records(), ChunkConfig(records=2), lambda: position)
    assert [chunk.n_bytes for chunk in chunks] == [30, 35]
