"""PubTator and BioC in and out: bodies as documents of the formats that files have, and answers likewise."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import DataError
from kogner_ray.serve.bodies import TagBody
from kogner_ray.serve.problems import Problem
from kogner_ray.tagging import TaggedEntity

JSON = "application/json"
FORMATS = {
    "application/vnd.pubtator": "pubtator",
    "application/vnd.bioc+json": "bioc_json",
    "application/vnd.bioc+xml": "bioc_xml",
}
"""Formats by media type."""


def format_of(content_type: str | None) -> str | None:
    """Format of a body; None for JSON.

    Raises:
        Problem: 415, neither.
    """
    media_type = (content_type or JSON).partition(";")[0].strip().lower()
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
    wanted = [part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",")]
    for media_type in wanted:
        if media_type in ("*/*", "application/*"):
            return of_body
        if media_type == JSON:
            return None
        if media_type in FORMATS and of_body is not None:
            return FORMATS[media_type]
    offered = [JSON, *FORMATS] if of_body else [JSON]
    raise Problem(406, f"Accept: expected one of {', '.join(offered)}, got {str(accept)[:100]!r}")


def read_body(body: bytes, format: str) -> list[Document]:
    """Documents of a body.

    Raises:
        Problem: 422, it does not hold what its format promises; names the line.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body"
        path.write_bytes(body)
        try:
            return list(read_documents(path, format))
        except DataError as error:
            where = "body" if error.line is None else f"body:{error.line}"
            raise Problem(422, f"{where}: {error.message}") from error


def settings_of(query: dict[str, str], documents: Sequence[Document]) -> TagBody:
    """The question that query parameters ask of documents.

    Raises:
        Problem: 422, an unknown or wrong parameter.
    """
    values: dict[str, object] = {**query, "texts": [document.text for document in documents]}
    if "types" in query:
        values["types"] = [name.strip() for name in query["types"].split(",")]
    try:
        return TagBody.model_validate(values)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        raise Problem(422, f"query: {'.'.join(map(str, item['loc']))}: {item['msg']}") from error


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
