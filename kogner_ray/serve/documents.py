"""PubTator and BioC in and out: bodies as documents of the formats that files have, and answers likewise."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.parsers import expat

from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import DataError
from kogner_ray.serve.problems import Problem, over
from kogner_ray.tagging import TaggedEntity

JSON = "application/json"
FORMATS = {
    "application/vnd.pubtator": "pubtator",
    "application/vnd.bioc+json": "bioc_json",
    "application/vnd.bioc+xml": "bioc_xml",
}
"""Formats by media type."""
_PACKED = re.compile(rb"\x1f\x8b|\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # files may be gzip or zstd, bodies not


def format_of(headers: Mapping[str, str]) -> str | None:
    """Format of a body; None for JSON.

    Raises:
        Problem: 415, neither, or a packed one.
    """
    if (coding := headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise Problem(415, f"Content-Encoding: expected none, got {coding[:100]!r}")
    media_type = _plain(headers.get("content-type") or JSON)
    if media_type == JSON:
        return None
    if media_type not in FORMATS:
        raise Problem(415, f"Content-Type: expected {JSON} or one of {', '.join(FORMATS)}, got {media_type[:100]!r}")
    return FORMATS[media_type]


def accepted(accept: str | None, of_body: str | None) -> str | None:
    """Format of the answer; None for JSON; the body's own where anything is accepted.

    Raises:
        Problem: 406, nothing of what is accepted can be given.
    """
    for media_type in _wanted(accept):
        if media_type in ("*/*", "application/*"):
            return of_body
        if media_type == JSON:
            return None
        if media_type in FORMATS and of_body is not None:
            return FORMATS[media_type]
    raise _unacceptable(accept, [JSON, *FORMATS] if of_body else [JSON])


def accepts(accept: str | None, media_type: str) -> None:
    """Hold what is accepted against the one media type that there is.

    Raises:
        Problem: 406, it is not accepted.
    """
    if {media_type, "*/*", "application/*", JSON}.isdisjoint(_wanted(accept)):
        raise _unacceptable(accept, [media_type])


def _wanted(accept: str | None) -> list[str]:
    return [_plain(part) for part in (accept or "*/*").split(",")]


def _plain(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _unacceptable(accept: str | None, offered: Sequence[str]) -> Problem:
    return Problem(406, f"Accept: expected one of {', '.join(offered)}, got {str(accept)[:100]!r}")


def read_body(body: bytes, format: str, most: int) -> list[Document]:
    """Documents of a body, of up to `most` characters together.

    Raises:
        Problem: 422, it does not hold what its format promises (names the line), or is one that grows when it is read.
    """
    if _PACKED.match(body):
        raise Problem(415, "body: expected text, got something packed")
    if format == "bioc_xml":
        _refuse_entities(body)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body"
        path.write_bytes(body)
        documents: list[Document] = []
        n_characters = 0
        try:
            for document in read_documents(path, format):
                documents.append(document)
                n_characters += len(document.text)
                if n_characters > most:  # offsets can be anything, and what lies between is filled with spaces
                    raise over(422, "max_body", most, n_characters, "characters of the documents")
        except DataError as error:
            where = "body" if error.line is None else f"body:{error.line}"
            raise Problem(422, f"{where}: {error.message}") from error
        except RecursionError as error:
            raise Problem(422, "body: nested too deeply") from error
    return documents


def _refuse_entities(body: bytes) -> None:
    """Refuse XML that declares entities: a few of them stand for gigabytes, or for files of this machine.

    The reader leaves them alone in texts, but in attributes they are replaced while a start tag is read.
    """
    parser = expat.ParserCreate()
    parser.EntityDeclHandler = _refuse_entity
    parser.StartElementHandler = _stop
    try:
        parser.Parse(body, True)
    except _Begun:  # declarations come before the first element
        return
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Problem(422, f"body: not well-formed XML: {error}") from error


class _Begun(Exception):
    pass


def _stop(*_: object) -> None:
    raise _Begun


def _refuse_entity(name: str, *_: object) -> None:
    raise Problem(422, f"body: expected XML without entities of its own, got one called {name[:100]!r}")


def written(documents: Sequence[Document], tagged: Sequence[Sequence[TaggedEntity]], format: str) -> bytes:
    """Documents with their entities in place of those that they came with.

    Raises:
        Problem: 422, what the format cannot hold.
    """
    found = [
        replace(document, entities=tuple(_entity(entity) for entity in entities), relations=())
        for document, entities in zip(documents, tagged, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer"
        try:
            write_documents(found, path, format, strict=False)
        except DataError as error:
            raise Problem(422, f"answer: {error.message}") from error
        return path.read_bytes()


def _entity(entity: TaggedEntity) -> Entity:
    concepts = () if entity.kg_id is None else (entity.kg_id,)
    return Entity(entity.start, entity.end, entity.type, concepts, attributes={"score": f"{entity.score:.4f}"})
