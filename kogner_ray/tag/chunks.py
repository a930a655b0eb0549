"""Inputs cut into chunks: the rows of the Ray Dataset.

A chunk is a piece of an input that depends on the input and the settings alone, and one row of the Dataset, which Ray
can put into blocks of any size without changing it. Reading is a stream of chunks an input, a few of them in memory.
"""

from __future__ import annotations

import errno
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import pyarrow as pa
from pydantic import PositiveInt
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from kogner_ray.config import Config
from kogner_ray.data.formats.registry import read_records
from kogner_ray.data.sources import Position, Source
from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError, UnreadableRest

_FAULTS = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET}
_REMOTE_FAULT = re.compile("AWS Error|google::cloud|[Cc]onnection|[Tt]imed? ?out")  # pyarrow gives them no number

ROW = pa.schema([("input", pa.string()), ("chunk", pa.int64()), ("payload", pa.large_binary())])
"""A chunk; or, without a payload, the end of an input, `chunk` being the number of its chunks."""

Numbered: TypeAlias = list[tuple[int, Document]]
"""Documents, each with the 0-based number of its record within the input."""


class ChunkConfig(Config):
    """How large a piece of work is. A kill costs at most one an actor; each is a file until its input is done.

    Attributes:
        records: at most so many documents.
        characters: no further document after so many characters.
    """

    records: PositiveInt = 256
    characters: PositiveInt = 500_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that could not be read or tagged.

    Attributes:
        record: its 0-based number within the input.
        reason: what was wrong with it.
        id: its id, where it is known.
        line: 1-based line of the input, where it is known.
    """

    record: int
    reason: str
    id: str | None = None
    line: int | None = None


@dataclass(slots=True)
class Chunk:
    """Neighbouring records of an input.

    Attributes:
        number: 0-based, within the input.
        documents: those that could be read.
        failures: records that could not be read.
        n_bytes: of the input, as stored, that were read for it.
    """

    number: int
    documents: Numbered = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    n_bytes: int = 0


@dataclass(frozen=True)
class Pending:
    """An input that is not finished, and the numbers of its chunks that are."""

    source: Source
    done: frozenset[int] = frozenset()


def cut_chunks(
    records: Iterable[Document | DataError], config: ChunkConfig, position: Callable[[], int] = lambda: 0
) -> Iterator[Chunk]:
    """Records in chunks.

    Args:
        records: documents, and an error in place of each that cannot be read.
        config: when a chunk is full.
        position: bytes of the input read so far.

    Raises:
        DataError: the storage of the input does not answer any more.
    """
    chunk, characters, before = Chunk(0), 0, 0
    for number, record in enumerate(_within_reach(records)):
        if isinstance(record, Document):
            chunk.documents.append((number, record))
            characters += len(record.text)
        else:
            chunk.failures.append(Failure(number, record.message, line=record.line))
        if len(chunk.documents) + len(chunk.failures) >= config.records or characters >= config.characters:
            chunk.n_bytes = position() - before
            yield chunk
            chunk, characters, before = Chunk(chunk.number + 1), 0, position()
    if chunk.documents or chunk.failures:
        chunk.n_bytes = position() - before
        yield chunk


def _within_reach(records: Iterable[Document | DataError]) -> Iterator[Document | DataError]:
    """`records`; where they end because the storage does not answer, no document is at fault, and the run stops."""
    for record in records:
        if isinstance(record, UnreadableRest) and _is_storage_fault(record.__cause__):
            raise DataError(f"{record.message}; run again to go on", path=record.path, line=record.line)
        yield record


def _is_storage_fault(cause: BaseException | None) -> bool:
    return isinstance(cause, OSError) and (cause.errno in _FAULTS or _REMOTE_FAULT.search(str(cause)) is not None)


class ChunkDatasource(Datasource):  # type: ignore[misc]
    """Inputs as rows of `ROW`, one read task an input."""

    def __init__(self, pending: Sequence[Pending], format: str | None, config: ChunkConfig) -> None:
        """Read what is not done of each input, all in `format`, or each in the one it is found to have."""
        super().__init__()
        self._pending, self._format, self._config = list(pending), format, config

    def get_name(self) -> str:
        """Name of the read in Ray's logs."""
        return "Chunks"

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all inputs."""
        return sum(pending.source.size for pending in self._pending)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """A task an input, whatever `parallelism` is."""
        return [
            ReadTask(partial(_rows, each, self._format, self._config), _metadata(each.source), ROW)
            for each in self._pending
        ]


def _rows(pending: Pending, format: str | None, config: ChunkConfig) -> Iterator[pa.Table]:
    # `done` must come from the driver: were it listed here, a task that Ray runs again would skip other chunks, and Ray
    # would take the n-th row of the second run for the n-th of the first
    name, position, n_chunks = pending.source.name, Position(), 0
    records = read_records(pending.source, format, position=position)
    for chunk in cut_chunks(records, config, lambda: position.n_bytes):
        n_chunks = chunk.number + 1
        if chunk.number not in pending.done:
            yield _row(name, chunk.number, pickle.dumps(chunk, pickle.HIGHEST_PROTOCOL))
    yield _row(name, n_chunks, None)


def _row(name: str, chunk: int, payload: bytes | None) -> pa.Table:
    return pa.Table.from_pylist([{"input": name, "chunk": chunk, "payload": payload}], schema=ROW)


def _metadata(source: Source) -> BlockMetadata:
    return BlockMetadata(num_rows=None, size_bytes=source.size, exec_stats=None, input_files=(source.uri,))
