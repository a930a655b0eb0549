"""Parquet with `spans.SCHEMA`, one document a row; extra columns are ignored.

Holds everything that a `Document` holds. Any column types that read as the schema's values are taken (large strings,
32-bit offsets, dictionaries ...); a missing optional column is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kogner_ray.data.files import attempted, placed, replacing
from kogner_ray.data.rows import document_from_outside
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import SCHEMA, Document, to_table
from kogner_ray.errors import DataError

_ROWS = 1000
_DAMAGE = (OSError, ValueError, pa.ArrowException)  # ValueError: bytes that are not UTF-8


def read(path: Path | Source) -> Iterator[Document | DataError]:
    """Documents of a Parquet file, in batches of 1,000 rows.

    A row that is no document comes as a `DataError` that names the row.

    Raises:
        DataError: the rest of the file cannot be read: damage, no Parquet, or no `id` or `text` column.
    """
    source = path if isinstance(path, Source) else None
    with _opened(path) as file:
        known = [name for name in SCHEMA.names if name in file.schema_arrow.names]
        for name in ("id", "text"):
            if name not in known:
                raise DataError(f"expected a column {name!r}, found {', '.join(file.schema_arrow.names)}", path=path)
        number = 0
        for batch in _batches(file, known, path):
            for row in _rows(batch):
                number += 1
                yield attempted(partial(_document, row), path, number)
            if source and source.position:
                source.position.n_bytes = source.size * number // file.metadata.num_rows


def write(documents: Iterable[Document], path: Path) -> None:
    """Write documents, 1,000 a row group, compressed with zstd.

    Raises:
        DataError: text that UTF-8 cannot hold, or a file that cannot be written.
    """
    rest = iter(documents)
    with replacing(path) as file, _writer(file) as writer:
        while chunk := list(islice(rest, _ROWS)):
            with placed(path):
                writer.write_table(_table(chunk))


def _writer(file: IO[bytes]) -> pq.ParquetWriter:
    return pq.ParquetWriter(file, SCHEMA, compression="zstd", write_page_checksum=True)


def _table(documents: list[Document]) -> pa.Table:
    try:
        return to_table(documents)
    except UnicodeEncodeError as error:
        raise DataError(f"documents {documents[0].id!r} to {documents[-1].id!r}: UTF-8 cannot hold: {error}") from error


def _opened(path: Path | Source) -> pq.ParquetFile:
    filesystem, place = path.filesystem() if isinstance(path, Source) else (None, path)
    try:
        return pq.ParquetFile(place, filesystem=filesystem, page_checksum_verification=True)
    except _DAMAGE as error:
        raise DataError(f"cannot be read as Parquet: {error}", path=path) from error


def _batches(file: pq.ParquetFile, columns: list[str], path: Path | Source) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(batch_size=_ROWS, columns=columns)
    except _DAMAGE as error:
        raise DataError(f"is a damaged Parquet file: {error}", path=path) from error


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | ValueError]:
    """Each row, or why it is none: a single value that is not UTF-8 makes a whole batch fail."""
    try:
        yield from batch.to_pylist()
    except ValueError as error:
        if batch.num_rows == 1:
            yield error
        else:
            yield from chain.from_iterable(_rows(batch.slice(i, 1)) for i in range(batch.num_rows))


def _document(row: dict[str, Any] | ValueError) -> Document:
    if isinstance(row, ValueError):
        raise DataError(f"cannot be read from Parquet: {row}")
    return document_from_outside(row)
