"""Formats by name, by file ending, or by the look of the first bytes; reading and writing through them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import BufferedReader
from os import PathLike
from pathlib import Path
from typing import cast

from kogner_ray.data.files import open_binary
from kogner_ray.data.formats import bioc_json, bioc_xml, conll, gliner_json, jsonl, parquet, pubtator
from kogner_ray.data.formats.endings import ENDINGS, PACKED, format_by_ending, known_format
from kogner_ray.data.sources import Position, Source
from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError, UnreadableRest

Reader = Callable[[Path | Source], Iterator[Document | DataError]]
Writer = Callable[[Iterable[Document], Path], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One file format.

    Attributes:
        name: as in `--format`.
        read: documents of a file, a `DataError` in place of each that cannot be read; raises where the file cannot be
            read on.
        write: writes documents to a file, or None.
        simplify: the part of a document that the format can hold, or None when that is all of it.
        packs: whether `.gz` or `.zst` may follow the ending.
    """

    name: str
    read: Reader
    write: Writer | None
    simplify: Callable[[Document], Document] | None = None
    packs: bool = True

    @property
    def endings(self) -> tuple[str, ...]:
        """File endings, with the dot."""
        return ENDINGS[self.name]


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("conll", conll.read, conll.write, conll.simplify),
        Format("pubtator", pubtator.read, pubtator.write, pubtator.simplify),
        Format("bioc_xml", bioc_xml.read, bioc_xml.write),
        Format("bioc_json", bioc_json.read, bioc_json.write),
        Format("jsonl", jsonl.read, jsonl.write),
        Format("gliner_json", gliner_json.read, None),
        Format("parquet", parquet.read, parquet.write, packs=False),
    )
}
"""All formats by name."""

_PEEK = 65_536
_LOOKS = (
    ("parquet", re.compile(rb"PAR1")),
    ("bioc_xml", re.compile(rb"\s*<(\?xml|!DOCTYPE|!--|collection)")),
    ("gliner_json", re.compile(rb"\s*[\[{].*\"(tokenized_text|tokens)\"\s*:\s*\[", re.DOTALL)),
    (
        "bioc_json",
        re.compile(rb"\s*[\[{].*\"(documents|PubTator3|passages)\"\s*:\s*\[\s*\{\s*\"(?!start\")", re.DOTALL),
    ),
    ("jsonl", re.compile(rb"\s*\{.*\"text\"\s*:", re.DOTALL)),
    ("pubtator", re.compile(rb"\s*[^|\t\n]+\|t\|")),
    ("conll", re.compile(rb"\s*(-DOCSTART-|###MEDLINE:|[^\s]+[\t ]([^\n]*[\t ])?(O|[BIESLUM]-[^\t\n]+)\r?(\n|$))")),
)


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What was written.

    Attributes:
        n_documents: documents written.
        dropped: what the format could not hold and `strict=False` left out, by kind: documents that lost their
            `passages`, entities that lost their `entity.concepts`, ...
    """

    n_documents: int
    dropped: dict[str, int] = field(default_factory=dict)


def read_documents(path: str | PathLike[str] | Source, format: str | None = None) -> Iterator[Document]:
    """Documents of a file in any known format; stops at the first record that is none.

    Args:
        path: the file; gzip and zstd are recognised by themselves.
        format: a name in `FORMATS`; found by look and ending when None.

    Raises:
        DataError: the file cannot be read, its format is unknown, or its content breaks the format.
    """
    chosen = FORMATS[known_format(format)] if format else detect(path)
    return _raising(chosen.read(_input(path)))


def read_records(
    source: Path | Source, format: str | None = None, *, position: Position | None = None
) -> Iterator[Document | DataError]:
    """As `read_documents`, but goes on after a record that cannot be read, with a `DataError` in its place.

    So there are as many documents and errors as the file has records. Where the rest of the file cannot be read (it is
    cut off, damaged, of no known format, or cannot be opened), the last one is an `UnreadableRest`. That is also the
    whole of a file in `bioc_json`, or a list in `gliner_json`, when any of it is no JSON or not UTF-8.

    Args:
        source: the file.
        format: a name in `FORMATS`; found by look and ending when None.
        position: where to note how far the file has been read.

    Raises:
        DataError: no such format; nothing else.
    """
    chosen = FORMATS[known_format(format)] if format else None
    return _going_on(source, chosen, position)


def _going_on(
    source: Path | Source, chosen: Format | None, position: Position | None
) -> Iterator[Document | DataError]:
    n_records = 0
    try:
        chosen = chosen or detect(source)
        for record in chosen.read(source if position is None else _noting(source, position)):
            n_records += 1
            yield record
    except DataError as error:
        message = f"{error.message} (cannot be read on after {n_records} records)"
        rest = UnreadableRest(message, path=error.path or source, line=error.line)
        rest.__cause__ = error.__cause__  # tells a damaged file from storage that does not answer
        yield rest


def _noting(source: Path | Source, position: Position) -> Source:
    try:
        return replace(source if isinstance(source, Source) else Source.of(source), position=position)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=source) from error


def _raising(records: Iterator[Document | DataError]) -> Iterator[Document]:
    for record in records:
        if isinstance(record, DataError):
            raise record
        yield record


def _input(path: str | PathLike[str] | Source) -> Path | Source:
    return path if isinstance(path, Source) else Path(path)


def write_documents(
    documents: Iterable[Document], path: str | PathLike[str], format: str | None = None, *, strict: bool = True
) -> WriteReport:
    """Write documents, all or nothing: the file appears under its name when it is whole.

    Args:
        documents: the documents; taken one by one.
        path: the file; `.gz` or `.zst` at its end compresses.
        format: a name in `FORMATS`; by ending when None.
        strict: refuse what the format cannot hold. Otherwise details (ids, attributes, relations, passages, the exact
            blanks of the text in CoNLL) are left out and counted; nested, overlapping or discontinuous entities that
            the format cannot hold are still refused.

    Raises:
        UnsupportedAnnotation: something that the format cannot hold; names document and entity.
        DataError: unknown format, or a file that cannot be written.
    """
    target = Path(path)
    chosen = FORMATS[known_format(format)] if format else by_ending(target)
    if chosen is None or chosen.write is None:
        writable = [entry.name for entry in FORMATS.values() if entry.write]
        raise DataError(f"no format to write it in; expected one of {', '.join(writable)}", path=target)
    if target.suffix in PACKED and not chosen.packs:
        raise DataError(f"{chosen.name} is compressed in itself; expected a name without {target.suffix}", path=target)
    counts: Counter[str] = Counter()
    simplify = None if strict else chosen.simplify
    chosen.write(_counted(documents, counts, simplify), target)
    return WriteReport(counts.pop("documents", 0), dict(counts))


def detect(path: str | PathLike[str] | Source) -> Format:
    """The format of a file: by its first bytes, else by its ending.

    Raises:
        DataError: the file cannot be read, or neither tells.
    """
    target = _input(path)
    head = _head(target).removeprefix(b"\xef\xbb\xbf")
    name = next((name for name, look in _LOOKS if look.match(head)), None)
    found = FORMATS[name] if name else by_ending(target)
    if found is None:
        line = head.split(b"\n", 1)[0][:60]
        raise DataError(f"unknown format: expected one of {', '.join(FORMATS)}; it begins with {line!r}", path=target)
    return found


def by_ending(path: Path | Source) -> Format | None:
    """The format whose endings has that of `path` (before a `.gz` or `.zst`), or None."""
    name = format_by_ending(path.name)
    return FORMATS[name] if name else None


def _head(path: Path | Source) -> bytes:
    """The first bytes: as many as can be read of a file that is cut off."""
    head = b""
    try:
        with open_binary(path) as file:
            while len(head) < _PEEK and (block := cast(BufferedReader, file).read1(_PEEK)):
                head += block
    except DataError:
        if not head:
            raise
    return head[:_PEEK]


def _counted(
    documents: Iterable[Document], counts: Counter[str], simplify: Callable[[Document], Document] | None
) -> Iterator[Document]:
    for document in documents:
        counts["documents"] += 1
        simpler = simplify(document) if simplify else document
        if simpler != document:
            counts.update(_losses(document, simpler))
        yield simpler


def _losses(before: Document, after: Document) -> Iterator[str]:
    for name in ("text", "annotated_types", "passages", "attributes"):
        if getattr(before, name) != getattr(after, name):
            yield name
    yield from ["relations"] * sum(old not in after.relations for old in before.relations)
    yield from ["entities"] * (len(before.entities) - len(after.entities))
    if len(before.entities) == len(after.entities):
        for old, new in zip(before.entities, after.entities, strict=True):
            yield from (
                f"entity.{name}"
                for name in ("concepts", "id", "attributes")
                if getattr(old, name) != getattr(new, name)
            )
