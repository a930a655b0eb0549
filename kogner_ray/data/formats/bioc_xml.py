"""BioC XML, one document at a time; `bioc_documents` says what becomes of what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, cast

from bioc import BioCCollection, biocxml
from lxml import etree

from kogner_ray.data.files import attempted, open_binary, placed, replacing
from kogner_ray.data.formats.bioc_documents import from_bioc, to_bioc
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError, UnsupportedAnnotation


def read(path: Path | Source) -> Iterator[Document | DataError]:
    """Documents of a BioC collection.

    A document that is no BioC comes as a `DataError` that names its line.

    Raises:
        DataError: the rest of the file cannot be read: not well-formed XML (names the line), or no collection.
    """
    with open_binary(path) as file:
        elements = etree.iterparse(
            _Pieces(file), events=("start", "end"), resolve_entities=False, no_network=True, huge_tree=True
        )
        try:
            for index, (event, element) in enumerate(elements):
                if index == 0 and element.tag != "collection":
                    raise DataError(f"expected BioC's <collection>, got <{element.tag}>", path=path, line=1)
                if event == "end" and element.tag == "document":
                    yield attempted(partial(_document, element), path, element.sourceline)
                    element.clear()  # keeps memory at one document
        except etree.XMLSyntaxError as error:
            raise DataError(f"not well-formed XML: {error.msg}", path=path, line=error.lineno or None) from error


class _Pieces:
    """A file that gives what it has: of a stream that is cut off, a whole block would be lost."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = cast(BufferedReader, file)

    def read(self, size: int) -> bytes:
        return self._file.read1(size)


def write(documents: Iterable[Document], path: Path) -> None:
    """Write documents as one BioC collection.

    Raises:
        UnsupportedAnnotation: something that BioC cannot hold (see `to_bioc`), or a character that XML cannot.
        DataError: the file cannot be written.
    """
    header = BioCCollection()
    header.source, header.date, header.key = "kogner_ray", "", ""
    with replacing(path) as file, closing(biocxml.BioCXMLDocumentWriter(file, encoding="UTF-8")) as writer:
        writer.write_collection_info(header)
        for document in documents:
            with placed(path):
                _write_document(document, writer)


def _write_document(document: Document, writer: Any) -> None:
    converted = to_bioc(document)
    try:
        writer.write_document(converted)
    except ValueError as error:
        raise UnsupportedAnnotation(
            f"document {document.id!r}: XML cannot hold one of its characters: {error}"
        ) from error


def _document(element: Any) -> Document:
    # the library reads collections; one of a single document keeps its parser, and memory small
    single = etree.tostring(element, encoding="unicode", with_tail=False)
    try:
        return from_bioc(biocxml.loads(f"<collection>{single}</collection>").documents[0])
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError, etree.XMLSyntaxError) as error:
        name = element.findtext("id")
        raise DataError(f"document {name!r} is not BioC: {type(error).__name__}: {error}") from error
