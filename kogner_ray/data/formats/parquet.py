"""Parquet with `spans.SCHEMA`, one document a row; extra columns are ignored.

Holds everything that a `Document` holds. Any column types that read as the schema's values are taken (large strings,
32-bit offsets, dictionaries ...); a missing optional column is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kogner_ray.data.files import placed, replacing
from kogner_ray.data.rows import document_from_outside
from kogner_ray.data.spans import SCHEMA, Document, to_table
from kogner_ray.errors import DataError

_ROWS = 1000
_DAMAGE = (OSError, ValueError, pa.ArrowException)  # ValueError: bytes that are not UTF-8


def read(path: Path) -> Iterator[Document]:
    """Documents of a Parquet file, in batches of 1,000 rows.

    Raises:
        DataError: no (whole) Parquet file, no `id` or `text` column, or a row that is no document; names the row.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except _DAMAGE as error:
        raise DataError(f"cannot be read as Parquet: {error}", path=path) from error
    with file:
        known = [name for name in SCHEMA.names if name in file.schema_arrow.names]
        for name in ("id", "text"):
            if name not in known:
                raise DataError(f"expected a column {name!r}, found {', '.join(file.schema_arrow.names)}", path=path)
        number = 0
        for rows in _batches(file, known, path):
            for row in rows:
                number += 1
                with placed(path, number):
                    yield document_from_outside(row)


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


def _batches(file: pq.ParquetFile, columns: list[str], path: Path) -> Iterator[list[dict[str, Any]]]:
    try:
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            yield batch.to_pylist()
    except _DAMAGE as error:
        raise DataError(f"is a damaged Parquet file: {error}", path=path) from error
