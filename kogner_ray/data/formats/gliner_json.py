"""GLiNER's training JSON: `{"tokenized_text": [...], "ner": [[first, last, type], ...]}`, a list or JSON lines.

The names `tokens` and `entities` are taken as well. Token indices are inclusive. The text is the tokens joined by one
space. `ner_labels` (the types asked for in a record) becomes `annotated_types`. Other keys, such as `ner_negatives`,
are GLiNER's training hints and are not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, TypedDict

from kogner_ray.data.files import attempted, numbered, open_binary, read_lines, read_text
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import DataError


@with_config(strict=True, extra="ignore")
class _Record(TypedDict):
    tokenized_text: Annotated[list[str], Field(validation_alias=AliasChoices("tokenized_text", "tokens"))]
    ner: NotRequired[
        Annotated[list[tuple[int, int, str]] | None, Field(validation_alias=AliasChoices("ner", "entities"))]
    ]
    ner_labels: NotRequired[list[str] | None]
    id: NotRequired[str | int | None]


_ADAPTER: TypeAdapter[Any] = TypeAdapter(_Record)


def read(path: Path | Source) -> Iterator[Document | DataError]:
    """Documents of a GLiNER training file.

    A record that lacks a key, has one of another type, or a token index outside of it, comes as a `DataError` that
    names the record.

    Raises:
        DataError: the rest of the file cannot be read: a list that is not JSON, or not UTF-8.
    """
    for number, record in _list(path) if _is_list(path) else read_lines(path):
        if isinstance(record, DataError):
            yield record
        elif record.strip():
            yield attempted(partial(_document, record, numbered(path, number)), path, number)


def _checked(record: str) -> dict[str, Any]:
    try:
        return dict(_ADAPTER.validate_json(record))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "record"
        raise DataError(f"{place}: {first['msg']}") from error


def _is_list(path: Path | Source) -> bool:
    with open_binary(path) as file:
        stripped = (line.removeprefix(b"\xef\xbb\xbf").strip() for line in file)
        return next(filter(None, stripped), b"").startswith(b"[")


def _list(path: Path | Source) -> Iterator[tuple[int, str]]:
    try:
        records = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} (column {error.colno})", path=path, line=error.lineno) from error
    except RecursionError as error:
        raise DataError(f"not JSON: {error}", path=path) from error
    yield from ((number, json.dumps(record)) for number, record in enumerate(records, 1))


def _document(text: str, default_id: str) -> Document:
    record = _checked(text)
    tokens = record["tokenized_text"]
    starts = [0, *accumulate(len(token) + 1 for token in tokens)]
    entities = []
    for first, last, kind in record.get("ner") or ():
        if not 0 <= first <= last < len(tokens):
            raise DataError(
                f"entity {kind} [{first}, {last}] is outside the tokens (expected 0 <= first <= last < {len(tokens)})"
            )
        entities.append(Entity(starts[first], starts[last] + len(tokens[last]), kind))
    own_id, labels = record.get("id"), record.get("ner_labels")
    return Document(
        id=default_id if own_id is None else str(own_id),
        text=" ".join(tokens),
        entities=tuple(entities),
        annotated_types=None if labels is None else tuple(labels),
    )
