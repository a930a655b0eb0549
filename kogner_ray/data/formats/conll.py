"""CoNLL columns: one token a line, token first, tag last, sentences parted by blank lines; one sentence, one document.

Reads IOB1, IOB2, IOBES, BILOU and BMES tags, separated by tabs or spaces, with any number of columns in between. The
text is the tokens joined by one space. Where a tag does not follow from the one before it, entities begin and end as in
conlleval; such repairs are counted and logged once a file.

A document's id is the one given by a line `-DOCSTART-<tab>id=...<tab>O` (ours) or `###MEDLINE:...` (JNLPBA); a second
sentence under it gets `:2`. Without one it is folder, file and line.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, pairwise
from pathlib import Path

from kogner_ray.data.files import attempted, encoded, numbered, placed, read_lines, replacing
from kogner_ray.data.formats.tags import Tag, TagRepairs, decode, parse
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import Document, Entity
from kogner_ray.data.words import split_words
from kogner_ray.errors import DataError, UnsupportedAnnotation, quoted

_LOG = logging.getLogger(__name__)
_DOCSTART, _OWN_ID, _MEDLINE = "-DOCSTART-", "-DOCSTART-\tid=", "###MEDLINE:"


def read(path: Path | Source) -> Iterator[Document | DataError]:
    """Sentences of a CoNLL file.

    A sentence that has a line without a tag, with an unknown tag, or with fewer or more columns than the lines before
    it, comes as a `DataError` that names the first such line.

    Raises:
        DataError: the rest of the file cannot be read.
    """
    repairs = TagRepairs()
    for sentence in _sentences(path):
        if sentence.error:
            yield sentence.error
            continue
        starts = [0, *accumulate(len(token) + 1 for token in sentence.tokens)]
        spans = decode(sentence.tags, first_line=sentence.line, repairs=repairs)
        entities = tuple(Entity(starts[span.start], starts[span.end] - 1, span.type) for span in spans)
        yield Document(sentence.id, " ".join(sentence.tokens), entities)
    if repairs.lines and repairs.n_fresh:
        message = "%s: %d tags begin an entity without B- (the first in line %d); read as conlleval does"
        _LOG.warning(message, path, len(repairs.lines), repairs.lines[0])


def write(documents: Iterable[Document], path: Path) -> None:
    """Write documents as two tab-separated columns in IOB2, entities by position.

    Raises:
        UnsupportedAnnotation: nested, overlapping or discontinuous entities, entities that are not whole tokens, a text
            that is not tokens joined by one space, or any detail beyond id, text and typed spans.
        DataError: the file cannot be written.
    """
    with replacing(path) as file:
        for document in documents:
            with placed(path):
                file.write(encoded("\n".join(_lines(document)) + "\n\n", document.id))


def simplify(document: Document) -> Document:
    """What CoNLL can hold of a document: its words (cut at entity boundaries) joined by one space, and typed spans."""
    text = document.text
    cuts = sorted({0, len(text)} | {edge for e in document.entities for edge in (e.start, e.end)})
    pieces = [(start + a, start + b) for start, end in pairwise(cuts) for a, b in _words(text[start:end])]
    old_starts = [start for start, _ in pieces]
    new_starts = [0, *accumulate(end - start + 1 for start, end in pieces)]
    entities = []
    for entity in document.entities:
        start, end = (new_starts[bisect_left(old_starts, edge)] for edge in (entity.start, entity.end))
        if start < end:
            hull = ((start, end - 1),) if entity.fragments else ()  # still discontinuous by name, for `write` to refuse
            entities.append(Entity(start, end - 1, entity.type, fragments=hull))
    return Document(document.id, " ".join(text[a:b] for a, b in pieces), tuple(entities))


def _words(text: str) -> Iterator[tuple[int, int]]:
    words = split_words(text)
    return zip(words.starts, words.ends, strict=True)


@dataclass
class _Sentence:
    line: int
    id: str
    tokens: list[str] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    n_columns: int = 0
    error: DataError | None = None

    def add(self, line: str | DataError) -> None:
        """Take a line: a token and its tag."""
        if isinstance(line, DataError):
            raise line
        cells = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
        self.n_columns = self.n_columns or len(cells)
        self.tags.append(_tag(cells, self.n_columns))
        self.tokens.append(cells[0])


def _sentences(path: Path | Source) -> Iterator[_Sentence]:
    sentence, label, n_under_label, n_columns = _Sentence(0, ""), "", 0, 0
    for number, line in chain(read_lines(path), [(0, _DOCSTART)]):  # the last one, ours, ends the last sentence
        opens = _opens(line)
        if isinstance(line, DataError) or (not opens and line.strip()):
            sentence.line = sentence.line or number
            if sentence.error is None:
                sentence.error = attempted(partial(sentence.add, line), path, number)
            continue
        if sentence.line:
            n_under_label += 1
            sentence.id = _name(label, n_under_label) if label else numbered(path, sentence.line)
            yield sentence
            n_columns = n_columns or (0 if sentence.error else sentence.n_columns)
            sentence = _Sentence(0, "", n_columns=n_columns)
        if opens:
            if label and not n_under_label:
                yield _Sentence(number, label)
            label, n_under_label = _label(line), 0


def _opens(line: str | DataError) -> bool:
    """Whether a document begins here, so that the next sentences are under its label."""
    if isinstance(line, DataError):
        return False
    return line.startswith(_DOCSTART) or (line.startswith(_MEDLINE) and "\t" not in line)


def _tag(cells: list[str], n_columns: int) -> Tag:
    if len(cells) < 2 or not cells[0]:
        raise DataError(f"expected a token, a tab or space, and a tag, got {quoted(' '.join(cells))}")
    if len(cells) != n_columns:
        raise DataError(
            f"expected {n_columns} columns as in the lines before, got {len(cells)}: {quoted(' '.join(cells))}"
        )
    return parse(cells[-1])


def _label(line: str) -> str:
    if line.startswith(_OWN_ID):
        return line.removeprefix(_OWN_ID).removesuffix("\tO")
    return line.removeprefix(_MEDLINE).strip() if line.startswith(_MEDLINE) else ""


def _name(label: str, number: int) -> str:
    return label if number == 1 else f"{label}:{number}"


def _lines(document: Document) -> Iterator[str]:
    where = f"document {document.id!r}"
    if document != Document(document.id, document.text, document.entities):
        raise UnsupportedAnnotation(f"{where}: CoNLL cannot hold passages, relations, attributes or annotated types")
    if re.search(r"[\t\n\r]", document.id) or not document.id:
        raise UnsupportedAnnotation(f"{where}: CoNLL cannot hold this id")
    tokens = document.text.split(" ") if document.text else []
    for token in tokens:
        if not token or re.search(r"[\t\n\r]", token) or token.startswith(_DOCSTART):
            raise UnsupportedAnnotation(
                f"{where}: CoNLL holds tokens joined by one space, got the token {quoted(token)}"
            )
    yield f"{_OWN_ID}{document.id}\tO"
    yield ""
    tags = _tags(document, tokens, where)
    yield from (f"{token}\t{tag}" for token, tag in zip(tokens, tags, strict=True))


def _tags(document: Document, tokens: list[str], where: str) -> list[str]:
    starts = [0, *accumulate(len(token) + 1 for token in tokens)]
    token_at = {start: index for index, start in enumerate(starts)}
    tags, free_from = ["O"] * len(tokens), 0
    for entity in sorted(document.entities, key=lambda entity: (entity.start, entity.end)):
        name = f"{where}: {entity.type} {quoted(document.surface(entity))} at {entity.start}"
        if entity != Entity(entity.start, entity.end, entity.type):
            raise UnsupportedAnnotation(f"{name}: CoNLL cannot hold fragments, concepts, ids or attributes")
        if not entity.type or re.search(r"[\t\n\r]", entity.type):
            raise UnsupportedAnnotation(f"{name}: CoNLL cannot hold this type")
        if entity.start < free_from:
            raise UnsupportedAnnotation(f"{name}: CoNLL cannot hold nested or overlapping entities")
        first, after = token_at.get(entity.start), token_at.get(entity.end + 1)
        if first is None or after is None:
            raise UnsupportedAnnotation(f"{name}: CoNLL holds whole tokens only")
        tags[first:after] = [f"B-{entity.type}", *[f"I-{entity.type}"] * (after - first - 1)]
        free_from = entity.end
    return tags
