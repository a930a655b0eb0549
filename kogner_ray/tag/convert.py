"""The tagged documents of an input in other formats, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from kogner_ray.data.formats.registry import FORMATS, write_documents
from kogner_ray.data.spans import Document, from_table
from kogner_ray.errors import DataError
from kogner_ray.tag.output import OutputFolder, documents_file


@dataclass(frozen=True)
class Conversion:
    """What became of an input in a format.

    Attributes:
        file: the file within the output folder, or None when the format cannot hold the documents.
        dropped: what the format could not hold and was left out, by kind.
        refused: why there is no file, or "".
    """

    file: str | None
    dropped: Mapping[str, int] = field(default_factory=dict)
    refused: str = ""


def convert(output: OutputFolder, name: str, format: str) -> Conversion:
    """Write the documents of the input `name` in `format`."""
    file = f"{format}/{name}{FORMATS[format].endings[0]}"
    try:
        with output.writing(file) as path:
            report = write_documents(_documents(output, name), path, format, strict=False)
    except DataError as error:
        return Conversion(None, refused=error.message)
    return Conversion(file, report.dropped)


def _documents(output: OutputFolder, name: str) -> Iterator[Document]:
    with output.open(documents_file(name)) as file:
        for batch in pq.ParquetFile(file).iter_batches(1000):
            yield from from_table(batch)
