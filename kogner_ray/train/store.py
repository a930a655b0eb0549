"""The Arrow file that holds a worker's examples.

Ray Data makes examples and streams them to each worker, which spills them to a local memory-mapped file: the plan of
batches can then draw any example at any time, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kogner_ray.student.windows import Window
from kogner_ray.train.examples import EXAMPLE_SCHEMA, Example


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
        ids, tokens, spans, annotated, links, weights = (a.values.to_numpy(zero_copy_only=False) for a in arrays)
        window = Window(first_word.as_py(), ids, tokens)
        return Example(document.as_py(), window, spans.reshape(-1, 3), annotated, links.reshape(-1, 3), weights)

    def n_spans(self, max_width: int) -> npt.NDArray[np.int64]:
        """Valid spans of up to `max_width` words in each example."""
        words = self.n_words
        widest = np.minimum(words, max_width)
        spans: npt.NDArray[np.int64] = widest * words - widest * (widest - 1) // 2
        return spans

    def _lengths(self, column: str) -> npt.NDArray[np.int64]:
        values = self._table.column(column).combine_chunks()
        if len(values) == 0:
            return np.zeros(0, dtype=np.int64)
        lengths: npt.NDArray[np.int64] = np.diff(values.offsets.to_numpy()).astype(np.int64)
        return lengths


def spill(batches: Iterable[pa.RecordBatch], path: str | Path) -> ExampleStore:
    """Write batches of `EXAMPLE_SCHEMA` to `path` and open the file, ordered by document, window and content.

    The order does not depend on how the batches were produced, so that every worker's store is the same.
    """
    table = pa.Table.from_batches(list(batches), EXAMPLE_SCHEMA)
    keyed = table.append_column("checksum", _checksums(table))
    keys = [(name, "ascending") for name in ("document", "first_word", "checksum")]
    with pa.ipc.new_file(str(path), EXAMPLE_SCHEMA) as writer:
        writer.write_table(table.take(pc.sort_indices(keyed, sort_keys=keys)))
    return ExampleStore(path)


def _checksums(table: pa.Table) -> pa.Array:
    """A checksum of each row's lists: documents that share an id are told apart by it."""
    sums = [0] * table.num_rows
    for name in ("input_ids", "spans", "annotated", "links", "weights"):
        column = table.column(name).combine_chunks()
        values, bounds = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
        sums = [crc32(values[a:b].tobytes(), sums[row]) for row, (a, b) in enumerate(pairwise(bounds))]
    return pa.array(sums, pa.uint32())
