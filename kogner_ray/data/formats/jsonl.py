"""JSON lines, one document a line, in the shape of `spans.SCHEMA` with empty fields left out.

    {"id": "227508", "text": "Naloxone reverses ...", "entities": [{"start": 0, "end": 8, "type": "Chemical"}]}

Attributes are JSON objects. A top-level field outside the schema is kept as an attribute when it is a plain value.
Holds everything that a `Document` holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kogner_ray.data.files import attempted, encoded, placed, read_lines, replacing
from kogner_ray.data.rows import document_from_json
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import Document, document_to_row
from kogner_ray.errors import DataError

_MAPS = ("attributes",)
_KEPT = ("id", "text", "start", "end", "type", "arguments", "role", "reference", "annotated_types")


def read(path: Path | Source) -> Iterator[Document | DataError]:
    """Documents of a JSON lines file; blank lines are skipped.

    A line that is not a document comes as a `DataError` that names the line and the field.

    Raises:
        DataError: the rest of the file cannot be read.
    """
    for number, line in read_lines(path):
        if isinstance(line, DataError):
            yield line
        elif line.strip():
            yield attempted(partial(document_from_json, line), path, number)


def write(documents: Iterable[Document], path: Path) -> None:
    """Write one document a line.

    Raises:
        DataError: text that UTF-8 cannot hold (a lone surrogate), or a file that cannot be written.
    """
    with replacing(path) as file:
        for document in documents:
            line = json.dumps(_compact(document_to_row(document)), ensure_ascii=False)
            with placed(path):
                file.write(encoded(line + "\n", document.id))


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty; `annotated_types` only when None, since [] says that nothing was annotated."""
    out: dict[str, Any] = {}
    for key, value in row.items():
        if key in _MAPS:
            value = dict(value)
        elif key != "annotated_types" and isinstance(value, list):
            value = [_compact(item) if isinstance(item, dict) else item for item in value]
        if value if key not in _KEPT else value is not None:
            out[key] = value
    return out
