"""Which chunks of which inputs are there: what an earlier attempt left, and what comes in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add

from kogner_ray.data.sources import Source
from kogner_ray.tag.chunks import Pending
from kogner_ray.tag.counts import Counts
from kogner_ray.tag.finish import chunk_counts
from kogner_ray.tag.output import CHUNKS, OutputFolder, chunks_folder, documents_file
from kogner_ray.tag.worker import Result

_CHUNK_FILE = re.compile(r"(\d{8})\.parquet")
_THREADS = 16  # they wait for an object store, mostly


class Board:
    """Inputs that are not done.

    Attributes:
        pending: inputs to read, with the chunks that are there.
        whole: inputs whose documents are there, though an attempt died before it could say so.
        counts: amounts of the chunks that were there from the beginning.
    """

    def __init__(self, todo: Sequence[Source], output: OutputFolder) -> None:
        """See what is there of `todo`."""
        begun = set(output.names(CHUNKS))
        self.whole = [source for source in todo if output.has(documents_file(source.name))]
        names = {source.name for source in self.whole}
        self.pending = [
            Pending(source, _chunks_there(output, source.name, begun)) for source in todo if source.name not in names
        ]
        self.counts = _counts_there(output, self.pending)
        self._sources = {source.name: source for source in todo}
        self._there = {pending.source.name: set(pending.done) for pending in self.pending}
        self._n_chunks: dict[str, int] = {}

    def completed_by(self, result: Result) -> tuple[Source, int] | None:
        """Take note of a result; the input and its number of chunks, when this was the last thing missing of it."""
        if result.counts is None:
            self._n_chunks[result.input] = result.chunk
        else:
            self._there[result.input].add(result.chunk)
        n_chunks = self._n_chunks.get(result.input)
        if n_chunks is None or len(self._there[result.input]) < n_chunks:
            return None
        return self._sources[result.input], n_chunks


def _chunks_there(output: OutputFolder, name: str, begun: Iterable[str]) -> frozenset[int]:
    folder = chunks_folder(name)
    if folder.rpartition("/")[2] not in begun:
        return frozenset()
    return frozenset(int(found[1]) for file in output.names(folder) if (found := _CHUNK_FILE.fullmatch(file)))


def _counts_there(output: OutputFolder, pending: Iterable[Pending]) -> Counts:
    chunks = [(each.source.name, number) for each in pending for number in each.done]
    with ThreadPoolExecutor(_THREADS) as pool:
        return reduce(add, pool.map(lambda chunk: chunk_counts(output, *chunk), chunks), Counts())
