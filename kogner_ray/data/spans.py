"""The one document model: text, typed spans with character offsets, and their Arrow schema.

Offsets count Unicode code points of `Document.text`, `end` exclusive. Entities may nest and overlap; a discontinuous
entity keeps its fragments beside its hull. Every reader makes these, every writer takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from kogner_ray.errors import DataError

UNKNOWN = "?"
"""Type of a stretch of which nobody knows what it is: training counts nothing that overlaps it as a negative."""

WEIGHT = "?weight"
"""Attribute of a mention that is not certain: how much it, and what it speaks against, counts in training, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A typed mention.

    Attributes:
        start: first character, 0-based.
        end: one past the last character; `start < end`.
        type: entity type as the corpus names it, or `UNKNOWN`.
        concepts: ids of the concept it denotes (several when the mention is composite); empty when unlinked.
        fragments: `(start, end)` of each piece when the mention is discontinuous, else empty.
        id: the annotation's own id in its file, or "".
        attributes: anything else that the file says of it.
    """

    start: int
    end: int
    type: str
    concepts: tuple[str, ...] = ()
    fragments: tuple[tuple[int, int], ...] = ()
    id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Relation:
    """A typed relation; `arguments` are `(role, reference)` pairs, a reference being an entity or concept id."""

    type: str
    arguments: tuple[tuple[str, str], ...]
    id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch `[start, end)` of the document's text, such as its title; `kind` names it."""

    start: int
    end: int
    kind: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its annotations.

    Attributes:
        id: unique within its corpus.
        text: the text, untouched.
        entities: mentions in file order.
        annotated_types: types that were annotated exhaustively here; None when the file does not say. A type that is
            not listed is *unknown* here, never a negative.
        passages: title, abstract, ... or empty.
        relations: relations in file order.
        attributes: anything else that the file says of the document.
    """

    id: str
    text: str
    entities: tuple[Entity, ...] = ()
    annotated_types: tuple[str, ...] | None = None
    passages: tuple[Passage, ...] = ()
    relations: tuple[Relation, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Raise `DataError` for a span outside the text."""
        for entity in self.entities:
            for start, end in ((entity.start, entity.end), *entity.fragments):
                if not 0 <= start < end <= len(self.text):
                    raise DataError(
                        f"document {self.id!r}: entity {entity.type} [{start}, {end}) is outside the text "
                        f"(expected 0 <= start < end <= {len(self.text)})"
                    )
        for passage in self.passages:
            if not 0 <= passage.start <= passage.end <= len(self.text):
                raise DataError(
                    f"document {self.id!r}: passage [{passage.start}, {passage.end}) is outside the text "
                    f"(expected 0 <= start <= end <= {len(self.text)})"
                )

    def surface(self, entity: Entity) -> str:
        """The characters of `entity`'s hull."""
        return self.text[entity.start : entity.end]

    def with_entities(self, entities: Iterable[Entity]) -> Document:
        """The same document with other entities."""
        return replace(self, entities=tuple(entities))


def relabel(
    document: Document, type_names: Mapping[str, str], annotated_types: Iterable[str] | None = None
) -> Document:
    """The same document with other type names.

    Args:
        document: any document.
        type_names: new name of each type to rename; others stay.
        annotated_types: what was annotated exhaustively, in new names, if the document itself does not say.
    """
    own = document.annotated_types
    if own is not None:
        annotated_types = dict.fromkeys(type_names.get(kind, kind) for kind in own)
    return replace(
        document,
        entities=tuple(replace(e, type=type_names.get(e.type, e.type)) for e in document.entities),
        annotated_types=None if annotated_types is None else tuple(annotated_types),
    )


_ATTRIBUTES = pa.map_(pa.string(), pa.string())
_STRETCH = pa.struct([("start", pa.int64()), ("end", pa.int64())])
_ENTITY = pa.struct(
    [
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("type", pa.string()),
        ("concepts", pa.list_(pa.string())),
        ("fragments", pa.list_(_STRETCH)),
        ("id", pa.string()),
        ("attributes", _ATTRIBUTES),
    ]
)
_PASSAGE = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string()), ("attributes", _ATTRIBUTES)])
_ARGUMENT = pa.struct([("role", pa.string()), ("reference", pa.string())])
_RELATION = pa.struct(
    [("type", pa.string()), ("arguments", pa.list_(_ARGUMENT)), ("id", pa.string()), ("attributes", _ATTRIBUTES)]
)

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        ("entities", pa.list_(_ENTITY)),
        ("annotated_types", pa.list_(pa.string())),
        ("passages", pa.list_(_PASSAGE)),
        ("relations", pa.list_(_RELATION)),
        ("attributes", _ATTRIBUTES),
    ]
)
"""Arrow schema of a table of documents, one a row."""


def to_table(documents: Iterable[Document]) -> pa.Table:
    """Documents as an Arrow table with `SCHEMA`."""
    return pa.Table.from_pylist([document_to_row(document) for document in documents], schema=SCHEMA)


def from_table(table: pa.Table | pa.RecordBatch) -> Iterator[Document]:
    """Documents of a table made by `to_table` (extra columns are ignored)."""
    for row in table.select([name for name in SCHEMA.names if name in table.schema.names]).to_pylist():
        yield document_from_row(row)


def document_to_row(document: Document) -> dict[str, Any]:
    """One document as plain lists and dicts in the shape of `SCHEMA`."""
    return {
        "id": document.id,
        "text": document.text,
        "entities": [
            {
                "start": entity.start,
                "end": entity.end,
                "type": entity.type,
                "concepts": list(entity.concepts),
                "fragments": [{"start": start, "end": end} for start, end in entity.fragments],
                "id": entity.id,
                "attributes": list(entity.attributes.items()),
            }
            for entity in document.entities
        ],
        "annotated_types": None if document.annotated_types is None else list(document.annotated_types),
        "passages": [
            {"start": p.start, "end": p.end, "kind": p.kind, "attributes": list(p.attributes.items())}
            for p in document.passages
        ],
        "relations": [
            {
                "type": relation.type,
                "arguments": [{"role": role, "reference": reference} for role, reference in relation.arguments],
                "id": relation.id,
                "attributes": list(relation.attributes.items()),
            }
            for relation in document.relations
        ],
        "attributes": list(document.attributes.items()),
    }


def document_from_row(row: Mapping[str, Any]) -> Document:
    """Inverse of `document_to_row`. Fields that are missing take their defaults."""
    types = row.get("annotated_types")
    return Document(
        id=row["id"],
        text=row["text"],
        entities=tuple(
            Entity(
                start=entity["start"],
                end=entity["end"],
                type=entity["type"],
                concepts=tuple(entity.get("concepts") or ()),
                fragments=tuple((piece["start"], piece["end"]) for piece in entity.get("fragments") or ()),
                id=entity.get("id") or "",
                attributes=dict(entity.get("attributes") or ()),
            )
            for entity in row.get("entities") or ()
        ),
        annotated_types=None if types is None else tuple(types),
        passages=tuple(
            Passage(p["start"], p["end"], p.get("kind") or "", dict(p.get("attributes") or ()))
            for p in row.get("passages") or ()
        ),
        relations=tuple(
            Relation(
                type=relation["type"],
                arguments=tuple((pair["role"], pair["reference"]) for pair in relation["arguments"]),
                id=relation.get("id") or "",
                attributes=dict(relation.get("attributes") or ()),
            )
            for relation in row.get("relations") or ()
        ),
        attributes=dict(row.get("attributes") or ()),
    )
