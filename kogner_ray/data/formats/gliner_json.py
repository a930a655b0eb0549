"""GLiNER's training JSON: `{"tokenized_text": [...], "ner": [[first, last, type], ...]}`, a list or JSON lines.

The names `tokens` and `entities` are taken as well. Token indices are inclusive. The text is the tokens joined by one
space. `ner_labels` (the types asked for in a record) becomes `annotated_types`. Other keys, such as `ner_negatives`,
are GLiNER's training hints and are not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, TypedDict

from kogner_ray.data.files import numbered, placed, read_lines, read_text
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


def read(path: Path) -> Iterator[Document]:
    """Documents of a GLiNER training file.

    Raises:
        DataError: not JSON, a key missing or of another type, or a token index outside the record; names the record.
    """
    for number, record in _records(path):
        with placed(path, number):
            yield _document(_checked(record), numbered(path, number))


def _checked(record: str) -> dict[str, Any]:
    try:
        return dict(_ADAPTER.validate_json(record))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "record"
        raise DataError(f"{place}: {first['msg']}") from error


def _records(path: Path) -> Iterator[tuple[int, str]]:
    lines = ((number, line) for number, line in read_lines(path) if line.strip())
    number, first = next(lines, (0, ""))
    if not first.lstrip().startswith("["):
        if first:
            yield number, first
            yield from lines
        return
    lines.close()
    try:
        records = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} (column {error.colno})", path=path, line=error.lineno) from error
    yield from ((number, json.dumps(record)) for number, record in enumerate(records, 1))


def _document(record: dict[str, Any], default_id: str) -> Document:
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
