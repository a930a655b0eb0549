"""Training examples: windows with their labelled and linked spans, and the Arrow file that holds them.

Ray Data makes examples from documents (`ExampleMaker`) and streams them to each worker, which spills them to a local
memory-mapped Arrow file (`ExampleStore`): the plan of batches can then draw any example at any time, in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kogner_ray.data.spans import Document, Entity
from kogner_ray.kg.linking import Linker
from kogner_ray.student.windows import TokenisedText, Window, Windower

_INTS = pa.list_(pa.int32())
EXAMPLE_SCHEMA = pa.schema(
    [
        ("document", pa.string()),
        ("first_word", pa.int32()),
        ("input_ids", _INTS),
        ("first_tokens", _INTS),
        ("spans", _INTS),
        ("annotated", _INTS),
        ("links", _INTS),
    ]
)
"""`spans` and `links` are flattened rows of three; see `Example`."""


@dataclass(frozen=True)
class Example:
    """One window to train on.

    Attributes:
        document: id of the document it comes from.
        window: encoder input.
        spans: (n, 3) first word, last word, type index.
        annotated: type indices that were annotated here; all others are unknown, not negative.
        links: (m, 3) first word, last word, row of the entity table.
    """

    document: str
    window: Window
    spans: npt.NDArray[np.int32]
    annotated: npt.NDArray[np.int32]
    links: npt.NDArray[np.int32]


class ExampleMaker:
    """Documents to examples, with a count of every annotation and what became of it."""

    def __init__(
        self, windower: Windower, *, types: Sequence[str], max_width: int, linker: Linker | None = None
    ) -> None:
        """`types`: types to train, position = type index; `max_width`: K; `linker`: None trains without a KG."""
        self._windower = windower
        self._types = {name: index for index, name in enumerate(types)}
        self._max_width = max_width
        self._linker = linker

    def make(self, documents: Sequence[Document]) -> tuple[list[Example], Counter[str]]:
        """Examples of `documents`.

        Returns:
            The examples, and how many annotations were `kept`, `wide` (more than K words: not trainable, counted),
            `misaligned` (a boundary within a word: trained on the whole words), `discontinuous` (not trainable),
            `other_type` (a type not trained here), `linked`.
        """
        census: Counter[str] = Counter()
        examples: list[Example] = []
        texts = self._windower.tokenise([document.text for document in documents])
        for document, text in zip(documents, texts, strict=True):
            examples.extend(self._examples(document, text, census))
        return examples, census

    def _examples(self, document: Document, text: TokenisedText, census: Counter[str]) -> Iterable[Example]:
        links = self._linker.link(document) if self._linker else [None] * len(document.entities)
        spans, linked = [], []
        for entity, link in zip(document.entities, links, strict=True):
            placed = self._place(entity, text, census)
            if placed is None:
                continue
            spans.append((*placed, self._types[entity.type]))
            if link is not None and link.exact:
                census["linked"] += 1
                linked.append((*placed, link.row))
        annotated = self._annotated(document)
        covered = {(first, last) for first, last, _ in spans}
        for first, end in self._cuts(text, covered):
            window = self._windower.window(text, first, end)
            yield Example(document.id, window, _within(spans, first, end), annotated, _within(linked, first, end))

    def _place(self, entity: Entity, text: TokenisedText, census: Counter[str]) -> tuple[int, int] | None:
        if entity.type not in self._types:
            census["other_type"] += 1
            return None
        if entity.fragments:
            census["discontinuous"] += 1
            return None
        starts, ends = text.words.starts, text.words.ends
        first = int(np.searchsorted(ends, entity.start, side="right"))
        last = int(np.searchsorted(starts, entity.end, side="left")) - 1
        if last - first + 1 > self._max_width:
            census["wide"] += 1
            return None
        if last < first:
            census["misaligned"] += 1
            return None
        census["kept" if starts[first] == entity.start and ends[last] == entity.end else "misaligned"] += 1
        return first, last

    def _annotated(self, document: Document) -> npt.NDArray[np.int32]:
        if document.annotated_types is None:
            return np.arange(len(self._types), dtype=np.int32)
        indices = [self._types[name] for name in document.annotated_types if name in self._types]
        return np.asarray(sorted(indices), dtype=np.int32)

    def _cuts(self, text: TokenisedText, spans: set[tuple[int, int]]) -> Iterable[tuple[int, int]]:
        first, n_words = 0, len(text.words)
        while first < n_words:
            end = self._windower.end_of_window(text, first)
            crossing = [start for start, last in spans if start < end <= last and start > first]
            end = end if end == n_words else min([end, *crossing])
            yield first, end
            first = end


def _within(rows: Sequence[tuple[int, int, int]], first: int, end: int) -> npt.NDArray[np.int32]:
    inside = sorted({(i - first, j - first, value) for i, j, value in rows if i >= first and j < end})
    return np.asarray(inside, dtype=np.int32).reshape(-1, 3)


def to_batch(examples: Sequence[Example]) -> pa.RecordBatch:
    """Examples as Arrow rows of `EXAMPLE_SCHEMA`."""
    columns = [
        [example.document for example in examples],
        [example.window.first_word for example in examples],
        [example.window.input_ids for example in examples],
        [example.window.first_tokens for example in examples],
        [example.spans.reshape(-1) for example in examples],
        [example.annotated for example in examples],
        [example.links.reshape(-1) for example in examples],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, EXAMPLE_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=EXAMPLE_SCHEMA)


class ExampleStore:
    """Examples in a memory-mapped Arrow file: random access, no larger in memory than what is being read."""

    def __init__(self, path: str | Path) -> None:
        """Open a file written by `spill`."""
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        self.n_words = self._lengths("first_tokens")
        self.n_tokens = self._lengths("input_ids")
        self.n_links = self._lengths("links") // 3

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> Example:
        document, first_word, *arrays = (self._table.column(i)[row] for i in range(self._table.num_columns))
        ids, tokens, spans, annotated, links = (array.values.to_numpy(zero_copy_only=False) for array in arrays)
        window = Window(first_word.as_py(), ids, tokens)
        return Example(document.as_py(), window, spans.reshape(-1, 3), annotated, links.reshape(-1, 3))

    def n_spans(self, max_width: int) -> npt.NDArray[np.int64]:
        """Valid spans of up to `max_width` words in each example."""
        words = self.n_words
        widest = np.minimum(words, max_width)
        return widest * words - widest * (widest - 1) // 2

    def _lengths(self, column: str) -> npt.NDArray[np.int64]:
        values = self._table.column(column).combine_chunks()
        if len(values) == 0:
            return np.zeros(0, dtype=np.int64)
        return np.diff(values.offsets.to_numpy()).astype(np.int64)


def spill(batches: Iterable[pa.RecordBatch], path: str | Path) -> ExampleStore:
    """Write batches of `EXAMPLE_SCHEMA` to `path` as they come and open the file, ordered by document and window.

    The order does not depend on how the batches were produced, so that every worker's store is the same.
    """
    table = pa.Table.from_batches(list(batches), EXAMPLE_SCHEMA)
    table = table.sort_by([("document", "ascending"), ("first_word", "ascending")])
    with pa.ipc.new_file(str(path), EXAMPLE_SCHEMA) as writer:
        writer.write_table(table)
    return ExampleStore(path)
