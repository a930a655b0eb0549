"""Formats by name, by file ending, or by the look of the first bytes; reading and writing through them."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from kogner_ray.data.files import open_binary
from kogner_ray.data.formats import bioc_json, bioc_xml, conll, gliner_json, jsonl, parquet, pubtator
from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError

Reader = Callable[[Path], Iterator[Document]]
Writer = Callable[[Iterable[Document], Path], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One file format.

    Attributes:
        name: as in `--format`.
        read: documents of a file.
        write: writes documents to a file, or None.
        endings: file endings, with the dot.
        simplify: the part of a document that the format can hold, or None when that is all of it.
        gzip: whether `.gz` may follow the ending.
    """

    name: str
    read: Reader
    write: Writer | None
    endings: tuple[str, ...]
    simplify: Callable[[Document], Document] | None = None
    gzip: bool = True


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("conll", conll.read, conll.write, (".conll", ".iob", ".iob2", ".bio", ".tsv"), conll.simplify),
        Format("pubtator", pubtator.read, pubtator.write, (".pubtator", ".txt"), pubtator.simplify),
        Format("bioc_xml", bioc_xml.read, bioc_xml.write, (".xml",)),
        Format("bioc_json", bioc_json.read, bioc_json.write, (".json",)),
        Format("jsonl", jsonl.read, jsonl.write, (".jsonl", ".ndjson")),
        Format("gliner_json", gliner_json.read, None, ()),
        Format("parquet", parquet.read, parquet.write, (".parquet",), gzip=False),
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


def read_documents(path: str | PathLike[str], format: str | None = None) -> Iterator[Document]:
    """Documents of a file in any known format.

    Args:
        path: the file; gzip is recognised by itself.
        format: a name in `FORMATS`; found by look and ending when None.

    Raises:
        DataError: the file cannot be read, its format is unknown, or its content breaks the format.
    """
    return (_named(format) if format else detect(path)).read(Path(path))


def write_documents(
    documents: Iterable[Document], path: str | PathLike[str], format: str | None = None, *, strict: bool = True
) -> WriteReport:
    """Write documents, all or nothing: the file appears under its name when it is whole.

    Args:
        documents: the documents; taken one by one.
        path: the file; `.gz` at its end compresses.
        format: a name in `FORMATS`; by ending when None.
        strict: refuse what the format cannot hold. Otherwise details (ids, attributes, relations, passages, the exact
            blanks of the text in CoNLL) are left out and counted; nested, overlapping or discontinuous entities that
            the format cannot hold are still refused.

    Raises:
        UnsupportedAnnotation: something that the format cannot hold; names document and entity.
        DataError: unknown format, or a file that cannot be written.
    """
    target = Path(path)
    chosen = _named(format) if format else by_ending(target)
    if chosen is None or chosen.write is None:
        writable = [entry.name for entry in FORMATS.values() if entry.write]
        raise DataError(f"no format to write it in; expected one of {', '.join(writable)}", path=target)
    if target.suffix == ".gz" and not chosen.gzip:
        raise DataError(f"{chosen.name} is compressed in itself; expected a name without .gz", path=target)
    counts: Counter[str] = Counter()
    simplify = None if strict else chosen.simplify
    chosen.write(_counted(documents, counts, simplify), target)
    return WriteReport(counts.pop("documents", 0), dict(counts))


def detect(path: str | PathLike[str]) -> Format:
    """The format of a file: by its first bytes, else by its ending.

    Raises:
        DataError: the file cannot be read, or neither tells.
    """
    target = Path(path)
    with open_binary(target) as file:
        head = file.read(_PEEK).removeprefix(b"\xef\xbb\xbf")
    name = next((name for name, look in _LOOKS if look.match(head)), None)
    found = FORMATS[name] if name else by_ending(target)
    if found is None:
        line = head.split(b"\n", 1)[0][:60]
        raise DataError(f"unknown format: expected one of {', '.join(FORMATS)}; it begins with {line!r}", path=target)
    return found


def by_ending(path: Path) -> Format | None:
    """The format whose endings has that of `path` (before a `.gz`), or None."""
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return next((entry for entry in FORMATS.values() if ending.lower() in entry.endings), None)


def _named(name: str) -> Format:
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(FORMATS)}"
        raise DataError(f"unknown format {name!r}; {hint}")
    return FORMATS[name]


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
