"""Between the `bioc` library's documents and ours; `bioc_xml` and `bioc_json` share it.

Reading: a BioC passage (or its sentences, when it has some) becomes a passage whose kind is the infon `type`;
characters that no passage covers are spaces. Annotations become entities: infon `type`, concept ids from the first
infon among `CONCEPT_KEYS`, one fragment a location when there are several. All other infons become attributes. The
header of the collection (source, date, key) is not kept.

Writing: the reverse. Text outside the passages goes into passages with the infon `listed=no`, which are not read back
as passages. BioC groups entities by passage: their order is kept within a passage. `annotated_types` is an infon of the
document, as a JSON list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bioc import BioCAnnotation, BioCDocument, BioCLocation, BioCNode, BioCPassage, BioCRelation

from kogner_ray.data.formats.concepts import join_concepts, split_concepts
from kogner_ray.data.spans import Document, Entity, Passage, Relation
from kogner_ray.errors import DataError, UnsupportedAnnotation, quoted

CONCEPT_KEYS = ("identifier", "Identifier", "MESH", "MeSH", "OMIM", "NCBI Gene", "NCBI GENE", "NCBI Taxonomy", "CVCL")
_RELATION_TYPES = ("type", "relation")
_ANNOTATED = "annotated_types"
_UNLISTED = {"listed": "no"}
_MAX_GAP = 10_000_000  # of a document: wrong offsets must not fill the memory with spaces


def from_bioc(source: Any) -> Document:
    """One `BioCDocument` as a document.

    Raises:
        DataError: passages overlap, an annotation has no type or no place, or is not the text at its offsets.
    """
    if source.id in (None, ""):
        raise DataError("expected a document with an id, got one without")
    where = f"document {str(source.id)!r}"
    units = list(_units(source))
    text = _text([(unit.offset, unit.text or "") for _, unit in units], where)
    nodes = [source, *(node for outer in source.passages for node in (outer, *outer.sentences))]
    nodes = nodes[1:] + nodes[:1]  # annotations of the document itself come last in a file
    attributes = _attributes(source.infons)
    annotated = attributes.pop(_ANNOTATED, None)
    return Document(
        id=str(source.id),
        text=text,
        entities=tuple(_entity(item, text, where) for node in nodes for item in node.annotations),
        annotated_types=None if annotated is None else tuple(json.loads(annotated)),
        passages=tuple(_passage(outer, unit) for outer, unit in units if unit.infons != _UNLISTED),
        relations=tuple(_relation(item) for node in nodes for item in node.relations),
        attributes=attributes,
    )


def to_bioc(document: Document) -> Any:
    """One document as a `BioCDocument`.

    Raises:
        UnsupportedAnnotation: passages that overlap, an entity whose fragments are not its hull's, concept ids that
            cannot be told apart in one field, or attributes under a name that BioC needs for something else.
    """
    where = f"document {document.id!r}"
    target = BioCDocument()
    target.id = document.id
    target.infons = _infons(document.attributes, where, reserved=(_ANNOTATED,))
    if document.annotated_types is not None:
        target.infons[_ANNOTATED] = json.dumps(document.annotated_types, ensure_ascii=False)
    for start, end, infons in (*_listed(document, where), *_unlisted(document, where)):
        passage = BioCPassage.of_text(document.text[start:end], start)
        passage.infons = infons
        target.add_passage(passage)
    for entity in document.entities:
        homes = (p for p in target.passages if p.offset <= entity.start and entity.end <= p.offset + len(p.text))
        next(homes, target).add_annotation(_annotation(document, entity))
    for relation in document.relations:
        target.add_relation(_bioc_relation(relation, where))
    return target


def _units(source: Any) -> Iterator[tuple[Any, Any]]:
    """Each stretch of text with the passage that it belongs to: sentences that carry the text, else the passage."""
    for outer in source.passages:
        sentences = outer.sentences if all(sentence.text for sentence in outer.sentences) else []
        yield from ((outer, unit) for unit in sentences or [outer])


def _text(pieces: list[tuple[int, str]], where: str) -> str:
    text, left = "", _MAX_GAP
    for offset, piece in sorted(pieces, key=lambda pair: (pair[0], len(pair[1]))):
        gap = offset - len(text)
        left -= gap
        if gap < 0 or left < 0:
            raise DataError(
                f"{where}: expected a passage at offset >= {len(text)} (end of the one before), got {offset}"
            )
        text += " " * gap + piece
    return text


def _passage(outer: Any, unit: Any) -> Passage:
    infons = _attributes(outer.infons) | _attributes(unit.infons)
    return Passage(unit.offset, unit.offset + len(unit.text or ""), infons.pop("type", ""), infons)


def _entity(item: Any, text: str, where: str) -> Entity:
    name = f"{where}: annotation {item.id!r}"
    infons = _attributes(item.infons)
    kind = infons.pop("type", "")
    pieces = tuple((location.offset, location.offset + location.length) for location in item.locations)
    if not kind or not pieces:
        raise DataError(f"{name}: expected an infon 'type' and a location, got {infons} and {len(pieces)} locations")
    for start, end in pieces:
        if not 0 <= start < end <= len(text):
            raise DataError(
                f"{name} at [{start}, {end}) is outside the text (expected 0 <= start < end <= {len(text)})"
            )
    surface = "".join(text[start:end] for start, end in pieces)
    # blanks aside: the text of a discontinuous annotation joins its pieces with or without one
    if item.text and "".join(surface.split()) != "".join(item.text.split()):
        raise DataError(f"{name}: expected the text at {pieces}, {quoted(surface)}, got {quoted(item.text)}")
    key = next((key for key in CONCEPT_KEYS if key in infons), "")
    concepts = split_concepts(infons.pop(key)) if key else ()
    starts, ends = zip(*pieces, strict=True)
    fragments = pieces if len(pieces) > 1 else ()
    return Entity(min(starts), max(ends), kind, concepts, fragments, str(item.id or ""), infons)


def _relation(item: Any) -> Relation:
    infons = _attributes(item.infons)
    key = next((key for key in _RELATION_TYPES if key in infons), "")
    arguments = tuple((str(node.role), str(node.refid)) for node in item.nodes)
    return Relation(infons.pop(key, ""), arguments, str(item.id or ""), infons)


def _attributes(infons: Mapping[Any, Any]) -> dict[str, str]:
    def as_text(value: Any) -> str:
        return value if isinstance(value, str) else "" if value is None else json.dumps(value)

    return {str(key): as_text(value) for key, value in infons.items()}


def _listed(document: Document, where: str) -> Iterator[tuple[int, int, dict[str, str]]]:
    free_from = 0
    for passage in sorted(document.passages, key=lambda passage: (passage.start, passage.end)):
        if passage.start < free_from:
            raise UnsupportedAnnotation(
                f"{where}: BioC cannot hold overlapping passages ({passage.kind} at {passage.start})"
            )
        free_from = passage.end
    for passage in document.passages:
        infons = _infons(passage.attributes, where, reserved=("type", *_UNLISTED))
        yield passage.start, passage.end, infons | ({"type": passage.kind} if passage.kind else {})


def _unlisted(document: Document, where: str) -> Iterator[tuple[int, int, dict[str, str]]]:
    covered = sorted((passage.start, passage.end) for passage in document.passages)
    last = 0
    for start, end in covered:
        if document.text[last:start].strip(" "):
            yield last, start, dict(_UNLISTED)
        last = end
    if last < len(document.text):
        yield last, len(document.text), dict(_UNLISTED)


def _annotation(document: Document, entity: Entity) -> Any:
    name = f"document {document.id!r}: {entity.type} {quoted(document.surface(entity))} at {entity.start}"
    pieces = entity.fragments or ((entity.start, entity.end),)
    hull = (min(start for start, _ in pieces), max(end for _, end in pieces))
    if hull != (entity.start, entity.end) or len(entity.fragments) == 1 or not entity.type:
        raise UnsupportedAnnotation(f"{name}: BioC holds a type and one or several pieces that span it, got {pieces}")
    target = BioCAnnotation()
    target.id = entity.id
    target.infons = {"type": entity.type} | _infons(entity.attributes, name, reserved=("type", CONCEPT_KEYS[0]))
    # also written when empty, if an attribute could be mistaken for it
    if entity.concepts or not target.infons.keys().isdisjoint(CONCEPT_KEYS):
        try:
            target.infons[CONCEPT_KEYS[0]] = join_concepts(entity.concepts)
        except UnsupportedAnnotation as error:
            raise UnsupportedAnnotation(f"{name}: {error.message}") from error
    for start, end in pieces:
        target.add_location(BioCLocation(start, end - start))
    target.text = " ".join(document.text[start:end] for start, end in pieces)
    return target


def _bioc_relation(relation: Relation, where: str) -> Any:
    target = BioCRelation()
    target.id = relation.id
    name = f"{where}: relation {relation.type}"
    target.infons = {"type": relation.type} | _infons(relation.attributes, name, reserved=("type",))
    for role, reference in relation.arguments:
        target.add_node(BioCNode(reference, role))
    return target


def _infons(attributes: Mapping[str, str], where: str, *, reserved: tuple[str, ...]) -> dict[str, str]:
    taken = sorted(set(attributes).intersection(reserved))
    if taken:
        raise UnsupportedAnnotation(f"{where}: BioC needs the name {taken[0]!r} itself, got an attribute of that name")
    return dict(attributes)
