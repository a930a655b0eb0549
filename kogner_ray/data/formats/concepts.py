"""Several concept ids in one field, as PubTator and BioC write them."""

from __future__ import annotations

import re

from kogner_ray.errors import UnsupportedAnnotation

UNLINKED = "-1"
"""Written for a mention without a concept; `-` and an empty field are read alike."""

_SEPARATORS = re.compile(r"[|,;+]")
_WHOLE = re.compile(r"tmVar:|[cgmnpr]\|")  # variants hold separators: tmVar:p|SUB|V|600|E;HGVS:p.V600E


def split_concepts(field: str) -> tuple[str, ...]:
    """Ids of a field such as `D006470|D003556`, `C538273+D001168`, `MESH:D003110,MESH:D008175`, `-1`."""
    field = field.strip()
    if field in ("", "-", UNLINKED):
        return ()
    if _WHOLE.match(field):
        return (field,)
    return tuple(piece.strip() for piece in _SEPARATORS.split(field) if piece.strip())


def join_concepts(concepts: tuple[str, ...], *, separator: str = "|") -> str:
    """Inverse of `split_concepts`.

    Raises:
        UnsupportedAnnotation: an id that would be read back as something else.
    """
    field = separator.join(concepts) if concepts else UNLINKED
    if split_concepts(field) != concepts:
        raise UnsupportedAnnotation(f"concept ids {list(concepts)} cannot be told apart in one field ({field!r})")
    return field
