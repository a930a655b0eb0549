"""PubTator: `PMID|t|title`, `PMID|a|abstract`, then a line a mention and a line a relation.

The text is title, one space, abstract, to which the offsets refer; both are passages. A document with a title line
alone has no passages. Mentions: id, start, end, mention, type, concept ids (`-1` or `-` when unlinked), and for
composite mentions their parts, kept as the attribute `individual_mentions`. Ids joined by something else than `|` keep
their separator in the attribute `concept_separator`. Relations: id, type, two references, and sometimes a `note`.

Blank lines part documents in real files, but a missing or a surplus one does no harm: a title line starts a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kogner_ray.data.files import attempted, encoded, placed, read_lines, replacing
from kogner_ray.data.formats.concepts import join_concepts, split_concepts
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import Document, Entity, Passage, Relation
from kogner_ray.errors import DataError, UnsupportedAnnotation, quoted

_TEXT_LINE = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_OWNER = re.compile(r"([^|\t]+)(\|t\|)?")  # the document that a line says it is of, and whether it is its title
_OTHER_SEPARATOR = re.compile(r"[,;+]")
_PARTS, _SEPARATOR, _NOTE = "individual_mentions", "concept_separator", "note"
_EXPECTED = "expected `id|t|title`, `id|a|abstract`, a mention (6 tab-separated columns) or a relation (4)"
_MOST_DIGITS = 18
_BREAKS = str.maketrans("\n\r\t", "   ")

_Line = tuple[int, "str | DataError"]


def read(path: Path | Source) -> Iterator[Document | DataError]:
    """Documents of a PubTator file.

    A document comes as a `DataError` that names the line, when it has a line of no known kind or of another document,
    offsets outside the text, or a mention that is not the text at its offsets.

    Raises:
        DataError: the rest of the file cannot be read.
    """
    for lines in _blocks(path):
        yield attempted(partial(_document, lines, path), path)


def _blocks(path: Path | Source) -> Iterator[list[_Line]]:
    """The lines of each document: up to the next title, or over a blank line to a line of another document."""
    block: list[_Line] = []
    name, parted = None, False
    for number, line in read_lines(path):
        if not isinstance(line, DataError) and not line.strip():
            parted = True
            continue
        found = None if isinstance(line, DataError) else _OWNER.match(line)
        own, is_title = (found[1], bool(found[2])) if found else (None, False)
        if block and (is_title or (parted and own != name)):
            yield block
            block, name = [], None
        block.append((number, line))
        name, parted = name or own, False
    if block:
        yield block


def _document(lines: list[_Line], path: Path | Source) -> Document:
    block = _Block()
    for number, line in lines:
        with placed(path, number):
            block.add(line)
    return block.document()


def write(documents: Iterable[Document], path: Path) -> None:
    """Write documents, each followed by a blank line.

    Raises:
        UnsupportedAnnotation: something that PubTator cannot hold: passages other than title and abstract, line breaks,
            discontinuous mentions, ids and attributes of mentions, relations that are not plain pairs.
        DataError: the file cannot be written.
    """
    with replacing(path) as file:
        for document in documents:
            with placed(path):
                file.write(encoded("\n".join(_lines(document)) + "\n\n", document.id))


def simplify(document: Document) -> Document:
    """What PubTator can hold of a document: spans and text length stay, line breaks and tabs become spaces."""
    kinds = [passage.kind for passage in document.passages]
    relations = [relation for relation in document.relations if len(relation.arguments) == 2]
    simpler = Document(
        id=document.id,
        text=document.text.translate(_BREAKS),
        entities=tuple(_simple_entity(entity) for entity in document.entities),
        passages=tuple(replace(p, attributes={}) for p in document.passages) if kinds == ["title", "abstract"] else (),
        relations=tuple(Relation(r.type, tuple(("", reference) for _, reference in r.arguments)) for r in relations),
    )
    return simpler if _title_end(simpler) is not None else replace(simpler, passages=())


@dataclass
class _Block:
    """The lines of one document so far."""

    id: str = ""
    title: str = ""
    abstract: str | None = None
    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)

    def add(self, line: str | DataError) -> None:
        if isinstance(line, DataError):
            raise line
        found = _TEXT_LINE.fullmatch(line)
        if not self.id:
            if not found or found[2] != "t":
                raise DataError(f"expected `id|t|title` first, got {quoted(line)}")
            self.id, self.title = found[1], found[3]
        elif found:
            self.add_abstract(found[1], found[3])
        else:
            self.add_columns(line.split("\t"))

    @property
    def text(self) -> str:
        return self.title if self.abstract is None else f"{self.title} {self.abstract}"

    def add_abstract(self, document: str, abstract: str) -> None:
        self._same(document)
        if self.abstract is not None or self.entities or self.relations:
            raise DataError(f"document {self.id!r}: expected its one abstract line right after the title")
        self.abstract = abstract

    def add_columns(self, columns: list[str]) -> None:
        if len(columns) >= 4:
            self._same(columns[0])
            if columns[1].isdecimal() and columns[2].isdecimal() and 5 <= len(columns) <= 7:
                self.entities.append(self._entity(columns))
                return
            if not columns[1].isdecimal() and len(columns) <= 5:
                note = {_NOTE: columns[4]} if len(columns) == 5 else {}
                self.relations.append(Relation(columns[1], (("", columns[2]), ("", columns[3])), attributes=note))
                return
        raise DataError(f"document {self.id!r}: {_EXPECTED}, got {quoted(chr(9).join(columns))}")

    def document(self) -> Document:
        end, text = len(self.title), self.text
        both = (Passage(0, end, "title"), Passage(end + 1, len(text), "abstract"))
        return Document(
            self.id,
            text,
            tuple(self.entities),
            passages=() if self.abstract is None else both,
            relations=tuple(self.relations),
        )

    def _same(self, document: str) -> None:
        if document != self.id:
            raise DataError(f"expected a line of document {self.id!r}, got one of {document!r}")

    def _entity(self, columns: list[str]) -> Entity:
        if max(map(len, columns[1:3])) > _MOST_DIGITS:
            raise DataError(f"document {self.id!r}: expected offsets, got numbers of over {_MOST_DIGITS} digits")
        start, end, mention, kind = int(columns[1]), int(columns[2]), columns[3], columns[4]
        text = self.text
        where = f"document {self.id!r}: mention {quoted(mention)} at [{start}, {end})"
        if not 0 <= start < end <= len(text):
            raise DataError(f"{where} is outside the text (expected 0 <= start < end <= {len(text)})")
        # stripped, because real files hold mentions with blanks at their end
        if text[start:end].strip() != mention.strip():
            raise DataError(f"{where}: expected the text there, {text[start:end]!r}, got {mention!r}")
        if not kind:
            raise DataError(f"{where} has no type")
        attributes = {_PARTS: columns[6]} if len(columns) == 7 else {}
        concepts = split_concepts(columns[5]) if len(columns) > 5 else ()
        other = _OTHER_SEPARATOR.search(columns[5]) if len(concepts) > 1 else None
        return Entity(start, end, kind, concepts, attributes=attributes | ({_SEPARATOR: other[0]} if other else {}))


def _lines(document: Document) -> Iterator[str]:
    where = f"document {document.id!r}"
    title_end = _title_end(document)
    if title_end is None:
        raise UnsupportedAnnotation(f"{where}: PubTator holds a title, one space and an abstract, or no passages")
    if document.attributes or document.annotated_types is not None:
        raise UnsupportedAnnotation(f"{where}: PubTator cannot hold attributes or annotated types of a document")
    _field(document.id, where, banned="|\ufeff")
    if re.search(r"[\n\r]", document.text):
        raise UnsupportedAnnotation(f"{where}: PubTator cannot hold a line break in a text")
    yield f"{document.id}|t|{document.text[:title_end]}"
    if document.passages:
        yield f"{document.id}|a|{document.text[title_end + 1 :]}"
    for entity in document.entities:
        surface = document.surface(entity)
        yield _mention_line(document.id, entity, surface, f"{where}: {entity.type} {quoted(surface)} at {entity.start}")
    for relation in document.relations:
        yield _relation_line(document.id, relation, f"{where}: relation {relation.type}")


def _title_end(document: Document) -> int | None:
    if not document.passages:
        return len(document.text)
    if len(document.passages) != 2:
        return None
    title, abstract = document.passages
    end = title.end
    fits = (title, abstract) == (Passage(0, end, "title"), Passage(end + 1, len(document.text), "abstract"))
    return end if fits and document.text[end] == " " else None


def _mention_line(document: str, entity: Entity, surface: str, where: str) -> str:
    if entity.fragments:
        raise UnsupportedAnnotation(f"{where}: PubTator cannot hold a discontinuous mention")
    separator = entity.attributes.get(_SEPARATOR, "|")
    fits = separator == "|" and _SEPARATOR not in entity.attributes
    fits = fits or (len(entity.concepts) > 1 and len(separator) == 1 and separator in ",;+")
    if entity.id or set(entity.attributes) - {_PARTS, _SEPARATOR} or not fits:
        raise UnsupportedAnnotation(f"{where}: PubTator cannot hold its id {entity.id!r} or {dict(entity.attributes)}")
    try:
        concepts = join_concepts(entity.concepts, separator=separator)
    except UnsupportedAnnotation as error:
        raise UnsupportedAnnotation(f"{where}: {error.message}") from error
    columns = [document, str(entity.start), str(entity.end), surface, entity.type, concepts]
    parts = [entity.attributes[_PARTS]] if _PARTS in entity.attributes else []
    return "\t".join([*(_field(column, where) for column in columns), *(_field(p, where, empty=True) for p in parts)])


def _relation_line(document: str, relation: Relation, where: str) -> str:
    plain = len(relation.arguments) == 2 and not any(role for role, _ in relation.arguments)
    if not plain or relation.id or set(relation.attributes) - {_NOTE} or relation.type.isdecimal():
        raise UnsupportedAnnotation(
            f"{where}: PubTator holds relations of two references without roles, ids, attributes"
        )
    columns = [document, relation.type, *(reference for _, reference in relation.arguments)]
    return "\t".join(_field(column, where, empty=True) for column in [*columns, *relation.attributes.values()])


def _simple_entity(entity: Entity) -> Entity:
    try:
        join_concepts(entity.concepts)
        concepts = entity.concepts
    except UnsupportedAnnotation:
        concepts = ()
    return Entity(entity.start, entity.end, entity.type, concepts, entity.fragments)


def _field(text: str, where: str, *, banned: str = "", empty: bool = False) -> str:
    if re.search(rf"[\n\r\t{re.escape(banned)}]", text) or not (text or empty):
        raise UnsupportedAnnotation(f"{where}: PubTator cannot hold {text!r} in a column")
    return text
