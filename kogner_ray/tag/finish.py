"""An input whose chunks are all there becomes one file of documents and one of failures, and what is converted from it.

The file of documents comes last and says that the input is done. Each step can be done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kogner_ray.data.sources import Source
from kogner_ray.errors import DataError, OutputError
from kogner_ray.tag.convert import Conversion, convert
from kogner_ray.tag.counts import Counts
from kogner_ray.tag.output import OutputFolder, chunk_file, chunks_folder, documents_file, failures_file
from kogner_ray.tag.tables import (
    DOCUMENTS,
    FAILURES,
    counts_in,
    counts_metadata,
    documents_of,
    failures_of,
    read_chunk,
    read_footer,
)

_INPUT_SHA256 = b"kogner.input_sha256"
_ROW_GROUP = 32 << 20  # bytes in memory


@dataclass(frozen=True)
class Finished:
    """An input that is done.

    Attributes:
        sha256: of the input; empty when it could not be opened.
        counts: its amounts.
        files: file of the output folder -> its sha256.
        conversions: format -> what became of it.
    """

    sha256: str
    counts: Counts
    files: Mapping[str, str]
    conversions: Mapping[str, Conversion] = field(default_factory=dict)

    def with_more(self, later: Finished) -> Finished:
        """Also converted to the formats of `later`."""
        files, conversions = {**self.files, **later.files}, {**self.conversions, **later.conversions}
        return replace(later, files=files, conversions=conversions)

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {"sha256": self.sha256, **self.counts.as_dict(), "files": dict(self.files)} | {
            "conversions": {name: asdict(conversion) for name, conversion in self.conversions.items()}
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finished:
        """Inverse of `as_dict`."""
        counts = Counts(**{name: values[name] for name in Counts().as_dict()})
        conversions = {name: Conversion(**each) for name, each in values["conversions"].items()}
        return cls(values["sha256"], counts, values["files"], conversions)


def finish(output: OutputFolder, source: Source, n_chunks: int | None, to: Iterable[str]) -> Finished:
    """Merge the chunks of an input, unless that is done already; convert it; take its chunks away.

    Args:
        output: where its chunks are.
        source: the input.
        n_chunks: how many chunks it has; not needed when its documents are there.
        to: formats to convert its documents to.

    Raises:
        DataError: the input is not what it was when the run began.
        OutputError: a chunk is missing or damaged, or a file cannot be written.
    """
    name = source.name
    if not output.has(documents_file(name)):
        _merge(output, source, n_chunks or 0)
    footer = read_footer(output, documents_file(name))
    conversions = {format: convert(output, name, format) for format in to}
    output.delete_folder(chunks_folder(name))
    counts = counts_in(footer)
    files = [documents_file(name), *([failures_file(name)] if counts.failures else [])]
    files += [each.file for each in conversions.values() if each.file]
    hashes = {file: output.sha256(file) for file in files}
    return Finished(footer[_INPUT_SHA256].decode(), counts, hashes, conversions)


def chunk_counts(output: OutputFolder, name: str, number: int) -> Counts:
    """Amounts of a chunk that is there."""
    return counts_in(read_footer(output, chunk_file(name, number)))


def _merge(output: OutputFolder, source: Source, n_chunks: int) -> None:
    name = source.name
    counts = reduce(add, (chunk_counts(output, name, number) for number in range(n_chunks)), Counts())
    footer = counts_metadata(counts) | {_INPUT_SHA256: _unchanged_sha256(source, counts).encode()}
    if counts.failures:
        _write(
            output, failures_file(name), FAILURES.with_metadata(footer), _chunks(output, name, n_chunks, failures_of)
        )
    _write(output, documents_file(name), DOCUMENTS.with_metadata(footer), _chunks(output, name, n_chunks, documents_of))


def _unchanged_sha256(source: Source, counts: Counts) -> str:
    try:
        digest = source.sha256()
        filesystem, path = source.filesystem()
        info = filesystem.get_file_info(path)
    except OSError as error:
        if not counts.documents:
            return ""  # it could not be opened in the first place, and is among the failures
        raise DataError(f"cannot be read any more: {error}", path=source.uri) from error
    if info.size != source.size or (source.modified is not None and info.mtime_ns != source.modified):
        raise DataError("changed while it was tagged; tag it into another output", path=source.uri)
    return digest


def _chunks(
    output: OutputFolder, name: str, n_chunks: int, part: Callable[[pa.Table, str], pa.Table]
) -> Iterator[pa.Table]:
    n_records = 0
    for number in range(n_chunks):
        chunk = read_chunk(output, name, number)
        records = sorted(chunk["record"].to_pylist())
        if records != list(range(n_records, n_records + len(records))):
            where = output.where(chunk_file(name, number))
            raise OutputError(f"{where}: expected records from {n_records} on, found {records[:3]} ...; delete it")
        n_records += len(records)
        yield part(chunk, name)


def _write(output: OutputFolder, file: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with (
        output.writing(file) as path,
        pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for group in _groups(tables):
            writer.write_table(group.cast(schema))


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables joined to row groups of some size."""
    waiting: list[pa.Table] = []
    n_bytes = 0
    for table in tables:
        waiting.append(table)
        n_bytes += table.nbytes
        if n_bytes >= _ROW_GROUP:
            yield pa.concat_tables(waiting)
            waiting, n_bytes = [], 0
    if waiting:
        yield pa.concat_tables(waiting)
