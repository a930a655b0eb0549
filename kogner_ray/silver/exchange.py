"""Mentions exchanged for other names of their type, so that a student learns the place rather than the name."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from kogner_ray.data.spans import UNKNOWN, Document, Entity


def exchanged(document: Document, names: Mapping[str, Sequence[str]], *, share: float, seed: int) -> Document:
    """`document` with about `share` of its mentions exchanged for names drawn from `names[type]`.

    The same document and seed give the same text, on any machine. Mentions must not overlap; passages and relations are
    dropped, for their offsets would be wrong.

    Returns:
        A document of another id, `<id>#<seed>`.
    """
    generator = random.Random(crc32(f"{seed}\t{document.id}\t{document.text}".encode("utf-8", "surrogatepass")))
    pieces: list[str] = []
    entities: list[Entity] = []
    at = length = 0
    for entity in sorted(document.entities, key=lambda entity: entity.start):
        own = document.surface(entity)
        pool = () if entity.type == UNKNOWN else names.get(entity.type, ())
        name = generator.choice(pool) if pool and generator.random() < share else own
        pieces += [document.text[at : entity.start], name]
        length += len(pieces[-2])
        entities.append(replace(entity, start=length, end=length + len(name)))
        length += len(name)
        at = entity.end
    text = "".join((*pieces, document.text[at:]))
    return Document(f"{document.id}#{seed}", text, tuple(entities), document.annotated_types)
