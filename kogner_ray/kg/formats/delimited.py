"""Delimited text (TSV, CSV, SIF; plain or gzip) as Arrow tables of strings with the line of every row."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from kogner_ray.errors import DataError

# A line must fit into one block: large enough for an entity with a million synonyms.
_BLOCK_BYTES = 64 << 20
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class RawTable:
    """Rows as a file holds them, not yet checked.

    Attributes:
        table: the columns.
        path: the file.
        lines: (rows,) 1-based line, or record number in a Parquet file.
    """

    table: pa.Table
    path: Path
    lines: npt.NDArray[np.int64]

    def with_columns(self, names: Sequence[str]) -> RawTable:
        """The same rows under other column names."""
        return RawTable(self.table.rename_columns(list(names)), self.path, self.lines)


def read_delimited(path: Path, name_columns: Callable[[list[str]], list[str] | None]) -> RawTable:
    """Read `path`; a BOM, CRLF and blank lines are accepted, cells stay strings.

    The delimiter is a comma for `.csv` (with `"` quoting) and for files whose first line has no tab, else a tab.

    Args:
        path: the file; gzip is recognised by its first bytes.
        name_columns: from the first line's cells to the column names; None when that line is data, in which case the
            columns are named by their number, "0", "1", ...

    Raises:
        DataError: the file is missing, empty, truncated or not UTF-8, or a line has another number of cells.
    """
    first = _first_line(path)
    delimiter = "," if path.name.removesuffix(".gz").endswith(".csv") or "\t" not in first else "\t"
    cells = first.split("\t") if delimiter == "\t" else next(csv.reader([first]), [])
    header = name_columns([cell.strip() for cell in cells])
    names = header or [str(number) for number in range(len(cells))]
    if len(set(names)) < len(names):
        raise DataError(f"column names repeat: {names}", path=path, line=1)
    return _read(path, delimiter, names, skip=0 if header is None else 1)


def _read(path: Path, delimiter: str, names: list[str], skip: int) -> RawTable:
    def refuse(row: pa.csv.InvalidRow) -> str:
        broken.append(row)
        return "error"

    broken: list[pa.csv.InvalidRow] = []
    quotes = delimiter == ","
    try:
        table = pa.csv.read_csv(
            pa.CompressedInputStream(str(path), "gzip") if _is_gzip(path) else str(path),
            # One thread: with several the parser cannot tell a broken row's number.
            read_options=pa.csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows=skip
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quotes else False,
                ignore_empty_lines=False,
                invalid_row_handler=refuse,
            ),
            convert_options=pa.csv.ConvertOptions(
                null_values=[], strings_can_be_null=False, column_types=dict.fromkeys(names, pa.string())
            ),
        )
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        if skip and _is_header_only(path):
            return RawTable(pa.table({name: pa.array([], pa.string()) for name in names}), path, np.empty(0, np.int64))
        raise _explain(path, error, broken) from error
    return _drop_blank(RawTable(table, path, np.arange(table.num_rows, dtype=np.int64) + 1 + skip))


def _drop_blank(raw: RawTable) -> RawTable:
    filled = np.zeros(raw.table.num_rows, dtype=bool)
    for column in raw.table.columns:
        filled |= np.asarray(pc.not_equal(column, ""))
    return RawTable(raw.table.filter(pa.array(filled)), raw.path, raw.lines[filled])


def _explain(path: Path, error: Exception, broken: list[pa.csv.InvalidRow]) -> DataError:
    if broken:
        row = broken[0]
        message = f"expected {row.expected_columns} columns, found {row.actual_columns}: {row.text[:80]!r}"
        return DataError(message, path=path, line=row.number)
    return _first_unreadable(path) or DataError(f"cannot be read: {error}", path=path)


def _first_unreadable(path: Path) -> DataError | None:
    line = 0
    try:
        with _open(path) as stream:
            for line, text in enumerate(stream, start=1):  # noqa: B007
                text.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        return DataError(f"expected UTF-8, found byte 0x{byte:02x} at column {error.start + 1}", path=path, line=line)
    except (EOFError, OSError, zlib.error) as error:
        return DataError(f"the gzip stream is truncated or damaged: {error}", path=path, line=line + 1)
    return None


def _first_line(path: Path) -> str:
    if not path.is_file():
        raise DataError("no such file", path=path)
    try:
        with _open(path) as stream:
            text = stream.readline().decode("utf-8-sig").rstrip("\r\n")
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise _first_unreadable(path) or DataError(f"cannot be read: {error}", path=path) from error
    if not text:
        raise DataError("expected at least one line with cells, found an empty file or line", path=path, line=1)
    return text


def _is_header_only(path: Path) -> bool:
    with _open(path) as stream:
        stream.readline()
        return not stream.read(1)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP_MAGIC


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path) if _is_gzip(path) else path.open("rb"))
