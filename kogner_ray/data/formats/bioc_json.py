"""BioC JSON; `bioc_documents` says what becomes of what.

Reads a collection, a list of collections (the PMC service), `{"PubTator3": [...]}` (the PubTator 3 service), bare
documents, and several of these after each other. Lists that a producer leaves out are empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bioc import biocjson

from kogner_ray.data.files import attempted, encoded, placed, read_text, replacing
from kogner_ray.data.formats.bioc_documents import from_bioc, to_bioc
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError, quoted

_BLANKS = re.compile(r"\s*")
_HEAD = '{"source": "kogner_ray", "date": "", "key": "", "version": "1.0", "infons": {}, "documents": ['


def read(path: Path | Source) -> Iterator[Document | DataError]:
    """Documents of a BioC JSON file.

    What is no BioC comes as a `DataError` that names the document and its number in the file.

    Raises:
        DataError: the rest of the file cannot be read: not JSON, or not UTF-8 (names the line).
    """
    records = (record for value in _values(read_text(path), path) for record in _documents(value))
    for number, record in enumerate(records, 1):
        if isinstance(record, DataError):
            yield record.located(path)
        else:
            yield attempted(partial(_document, record), path, number)


def write(documents: Iterable[Document], path: Path) -> None:
    """Write documents as one BioC collection, a line a document.

    Raises:
        UnsupportedAnnotation: something that BioC cannot hold (see `to_bioc`).
        DataError: text that UTF-8 cannot hold, or a file that cannot be written.
    """
    with replacing(path) as file:
        separator = _HEAD + "\n"
        for document in documents:
            with placed(path):
                line = json.dumps(biocjson.toJSON(to_bioc(document)), ensure_ascii=False)
                file.write(encoded(separator + line, document.id))
            separator = ",\n"
        file.write(b"\n]}\n" if separator != _HEAD + "\n" else f"{_HEAD}]}}\n".encode())


def _values(text: str, path: Path | Source) -> Iterator[Any]:
    decoder, position = json.JSONDecoder(), _after_blanks(text, 0)
    while True:
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
            line = error.lineno if isinstance(error, json.JSONDecodeError) else None
            raise DataError(
                f"expected BioC JSON, got something that is not JSON: {error}", path=path, line=line
            ) from error
        yield value
        position = _after_blanks(text, position)
        if position == len(text):
            return


def _after_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position


def _documents(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        else:
            yield from _documents_of(value)


def _documents_of(value: Any) -> Iterator[Any]:
    key = next((key for key in ("documents", "PubTator3", "passages") if isinstance(value, dict) and key in value), "")
    if not key or not isinstance(value[key], list):
        yield DataError(f"expected a list under 'documents' or 'passages', got {quoted(value)}")
    else:
        yield from [value] if key == "passages" else value[key]


def _document(record: Any) -> Document:
    try:
        document = from_bioc(biocjson.fromJSON(_complete(record), "BioCDocument"))
        encoded(json.dumps(record, ensure_ascii=False), document.id)  # JSON escapes can hold half of a character
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        name = quoted(record.get("id") if isinstance(record, dict) else record)
        raise DataError(f"document {name} is not BioC: {type(error).__name__}: {error}") from error
    return document


def _complete(node: Any) -> Any:
    """The same document with the lists and infons that the library insists on."""
    lists = {key: [_complete(item) for item in node.get(key) or ()] for key in ("passages", "sentences", "annotations")}
    plain = {key: value for key, value in node.items() if value is not None}
    return {"infons": {}, "relations": [], "text": "", "id": "", "locations": [], **plain, **lists}
