"""The shape of what is written: documents, failures, and the file of a chunk, which holds both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kogner_ray.data.spans import SCHEMA, document_to_row
from kogner_ray.data.words import count_words
from kogner_ray.tag.chunks import Failure, Numbered
from kogner_ray.tag.counts import Counts
from kogner_ray.tag.output import OutputFolder, chunk_file

_INPUT = pa.field("input", pa.string(), nullable=False)
_RECORD = pa.field("record", pa.int64(), nullable=False)
_FAULT = [pa.field("line", pa.int64()), pa.field("reason", pa.string())]

DOCUMENTS = pa.schema([_INPUT, _RECORD, *SCHEMA])
"""A tagged document a row: the input's name, the record's 0-based number in it, and `spans.SCHEMA`."""

FAILURES = pa.schema([_INPUT, _RECORD, pa.field("id", pa.string()), *_FAULT])
"""A failed record a row: where it stands, its id and line as far as they are known, and why."""

CHUNK = pa.schema([_RECORD, *(column.with_nullable(True) for column in SCHEMA), *_FAULT])
"""Documents of a chunk, without a reason, then its failures, with one."""

_COUNTS = b"kogner.counts"


@dataclass(frozen=True, slots=True)
class TaggedChunk:
    """What became of a chunk.

    Attributes:
        number: of the chunk.
        parts: tagged documents in order, in the shape of `CHUNK`.
        failures: the other records, in order.
        n_bytes: of the input that were read for it.
    """

    number: int
    parts: list[pa.Table]
    failures: list[Failure]
    n_bytes: int

    @property
    def counts(self) -> Counts:
        """Its amounts."""
        texts = [text for part in self.parts for text in part["text"].to_pylist()]
        return Counts(
            documents=len(texts),
            failures=len(self.failures),
            entities=sum(len(column.flatten()) for part in self.parts for column in part["entities"].chunks),
            words=sum(map(count_words, texts)),
            characters=sum(map(len, texts)),
            n_bytes=self.n_bytes,
        )


def documents_table(documents: Numbered) -> pa.Table:
    """Tagged documents in the shape of `CHUNK`.

    Raises:
        UnicodeEncodeError: text that UTF-8 cannot hold.
        pyarrow.ArrowException: a document that Arrow cannot hold.
    """
    rows = [{"record": number, **document_to_row(document)} for number, document in documents]
    return pa.Table.from_pylist(rows, schema=CHUNK)


def write_chunk(chunk: TaggedChunk, output: OutputFolder, name: str) -> Counts:
    """Commit a chunk of the input `name`: one file, whole or not at all, the same whenever it is written."""
    counts = chunk.counts
    table = pa.concat_tables([*chunk.parts, _failures_table(chunk.failures)])
    with output.writing(chunk_file(name, chunk.number)) as path:
        table = table.replace_schema_metadata(counts_metadata(counts))
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    return counts


def read_chunk(output: OutputFolder, name: str, number: int) -> pa.Table:
    """A chunk in the shape of `CHUNK`."""
    with output.open(chunk_file(name, number)) as file:
        return pq.read_table(file, page_checksum_verification=True)


def read_footer(output: OutputFolder, file: str) -> dict[bytes, bytes]:
    """What the footer of a Parquet file says besides its schema."""
    with output.open(file) as opened:
        return dict(pq.read_metadata(opened).metadata)


def counts_in(footer: Mapping[bytes, bytes]) -> Counts:
    """The amounts in the footer of a file, of a chunk or of documents."""
    return Counts(**json.loads(footer[_COUNTS]))


def documents_of(chunk: pa.Table, name: str) -> pa.Table:
    """The tagged documents of a chunk, as `DOCUMENTS`."""
    return _shaped(chunk.filter(pc.is_null(chunk["reason"])), DOCUMENTS, name)


def failures_of(chunk: pa.Table, name: str) -> pa.Table:
    """The failures of a chunk, as `FAILURES`."""
    return _shaped(chunk.filter(pc.is_valid(chunk["reason"])), FAILURES, name)


def counts_metadata(counts: Counts) -> dict[bytes, bytes]:
    """`counts` as a Parquet footer keeps them."""
    return {_COUNTS: json.dumps(counts.as_dict()).encode()}


def _failures_table(failures: Sequence[Failure]) -> pa.Table:
    rows = [{"record": f.record, "id": _clean(f.id), "line": f.line, "reason": _clean(f.reason)} for f in failures]
    return pa.Table.from_pylist(rows, schema=CHUNK)


def _clean(text: str | None) -> str | None:
    """What UTF-8 cannot hold, written as an escape."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _shaped(rows: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    names = pa.array([name] * len(rows), pa.string())
    return pa.Table.from_arrays([names, *(rows[field.name] for field in list(schema)[1:])], schema=schema)
