"""Delimited text (TSV, CSV, SIF; plain or gzip) as Arrow tables of strings with the line of every row."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
        parts: the file of every row, where they come from several: (rows,) positions in `paths`.
        paths: those files.
    """

    table: pa.Table
    path: Path
    lines: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64] | None = None
    paths: tuple[Path, ...] = ()

    def place(self, row: int) -> tuple[Path, int]:
        """File and line of a row."""
        path = self.path if self.parts is None else self.paths[self.parts[row]]
        return path, int(self.lines[row])

    def with_table(self, table: pa.Table) -> RawTable:
        """The same rows with other columns."""
        return replace(self, table=table)

    def with_columns(self, names: Sequence[str]) -> RawTable:
        """The same rows under other column names."""
        return self.with_table(self.table.rename_columns(list(names)))

    def keep(self, rows: npt.NDArray[np.bool_]) -> RawTable:
        """The rows that are marked."""
        parts = None if self.parts is None else self.parts[rows]
        return replace(self, table=self.table.filter(pa.array(rows)), lines=self.lines[rows], parts=parts)

    @classmethod
    def joined(cls, raws: Sequence[RawTable], path: Path) -> RawTable:
        """The rows of several files one after another; a column that a file lacks is null there."""
        return cls(
            pa.concat_tables([raw.table for raw in raws], promote_options="default"),
            path,
            np.concatenate([raw.lines for raw in raws]),
            np.repeat(np.arange(len(raws)), [raw.table.num_rows for raw in raws]),
            tuple(raw.path for raw in raws),
        )


def read_delimited(
    path: Path, name_columns: Callable[[list[str]], list[str] | None], *, multiline: bool = False
) -> RawTable:
    """Read `path`; a BOM, CRLF and blank lines are accepted, cells stay strings.

    The delimiter is a comma for `.csv` (with `"` quoting) and for files whose first line has no tab, else a tab.

    Args:
        path: the file; gzip is recognised by its first bytes.
        name_columns: from the first line's cells to the column names; None when that line is data, in which case the
            columns are named by their number, "0", "1", ...
        multiline: quoted cells may hold line breaks; `lines` then counts records, as if none did.

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
    return _read(path, delimiter, names, skip=0 if header is None else 1, multiline=multiline)


def _read(path: Path, delimiter: str, names: list[str], *, skip: int, multiline: bool) -> RawTable:
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
                newlines_in_values=multiline,
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


def expect_columns(raw: RawTable, columns: Sequence[str]) -> None:
    """Raise `DataError` unless `raw` has all of `columns`."""
    missing = [name for name in columns if name not in raw.table.column_names]
    if missing:
        message = f"missing columns {missing}; expected {list(columns)}, found {raw.table.column_names}"
        raise DataError(message, path=raw.path, line=1)


def _drop_blank(raw: RawTable) -> RawTable:
    filled = np.zeros(raw.table.num_rows, dtype=bool)
    for column in raw.table.columns:
        filled |= np.asarray(pc.not_equal(column, ""))
    return raw.keep(filled)


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
