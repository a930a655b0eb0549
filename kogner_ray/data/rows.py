"""Rows that come from outside, checked against the shape of `spans.SCHEMA` before they become documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, TypedDict

from kogner_ray.data.spans import Document, document_from_row
from kogner_ray.errors import DataError, quoted

_Attributes = dict[str, str | None] | list[tuple[str, str | None]] | None
_STRICT = with_config(strict=True, extra="forbid")


@_STRICT
class _Stretch(TypedDict):
    start: int
    end: int


@_STRICT
class _Entity(TypedDict):
    start: int
    end: int
    type: str
    concepts: NotRequired[list[str] | None]
    fragments: NotRequired[list[_Stretch] | None]
    id: NotRequired[str | None]
    attributes: NotRequired[_Attributes]


@_STRICT
class _Passage(TypedDict):
    start: int
    end: int
    kind: NotRequired[str | None]
    attributes: NotRequired[_Attributes]


@_STRICT
class _Argument(TypedDict):
    role: str
    reference: str


@_STRICT
class _Relation(TypedDict):
    type: str
    arguments: list[_Argument]
    id: NotRequired[str | None]
    attributes: NotRequired[_Attributes]


@with_config(strict=True, extra="allow")
class _Document(TypedDict):
    id: str | int
    text: str
    entities: NotRequired[list[_Entity] | None]
    annotated_types: NotRequired[list[str] | None]
    passages: NotRequired[list[_Passage] | None]
    relations: NotRequired[list[_Relation] | None]
    attributes: NotRequired[_Attributes]


_ADAPTER: TypeAdapter[Any] = TypeAdapter(_Document)
_FIELDS = frozenset(_Document.__annotations__)


def document_from_json(record: str) -> Document:
    """One JSON object as a document; see `document_from_outside`."""
    try:
        return _finish(_ADAPTER.validate_json(record))
    except ValidationError as error:
        raise DataError(_explain(error)) from error


def document_from_outside(row: Mapping[str, Any]) -> Document:
    """A row of unknown origin as a document.

    A whole-number `id` is taken as text. A top-level field that is not part of the schema is kept as an attribute when
    it is text, a number or a truth value.

    Raises:
        DataError: a field is missing, of another type, or unknown and not a plain value; a span lies outside the text.
    """
    try:
        return _finish(_ADAPTER.validate_python(row))
    except ValidationError as error:
        raise DataError(_explain(error)) from error


def _finish(row: dict[str, Any]) -> Document:
    extra = {key: row[key] for key in row if key not in _FIELDS and row[key] is not None}
    for key, value in extra.items():
        if not isinstance(value, (str, int, float)):
            raise DataError(
                f"unknown field {key!r} holds a {type(value).__name__}; expected one of {', '.join(sorted(_FIELDS))}, "
                "or a plain value to keep as an attribute"
            )
    own = {key: value or "" for key, value in dict(row.get("attributes") or ()).items()}
    return document_from_row(
        {**row, "id": str(row["id"]), "attributes": {**{key: str(value) for key, value in extra.items()}, **own}}
    )


def _explain(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    place = ".".join(str(part) for part in first["loc"]) or "record"
    got = "" if first["type"] in ("missing", "json_invalid") else f", got {quoted(first['input'])}"
    more = f" (and {len(others)} more)" if others else ""
    return f"{place}: {first['msg']}{got}{more}"
