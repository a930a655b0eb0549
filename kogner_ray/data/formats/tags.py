"""Token tags: IOB1, IOB2, IOBES, BILOU and BMES in one reading, with the entity borders of conlleval (CoNLL-2000)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from kogner_ray.errors import DataError, quoted

_TAG = re.compile(r"([BIESLUM])-(.+)", re.DOTALL)
_CANONICAL = str.maketrans("LUM", "ESI")


class Tag(NamedTuple):
    """One tag: prefix B, I, E, S or O, and the entity type ("" after O)."""

    prefix: str
    type: str


_OUTSIDE = Tag("O", "")


@dataclass
class TagRepairs:
    """Tags that begin an entity without saying so.

    Attributes:
        lines: 1-based lines where I- or E- begins an entity.
        n_fresh: B- or S- tags right after something other than an entity of their type: evidence that the file is not
            in IOB1, where I- begins most entities by right.
    """

    lines: list[int] = field(default_factory=list)
    n_fresh: int = 0

    def add(self, line: int, prefix: str, *, adjacent: bool) -> None:
        """Count the first tag of an entity; `adjacent` when one of the same type ends just before it."""
        if prefix in "IE":
            self.lines.append(line)
        elif not adjacent:
            self.n_fresh += 1


class TagSpan(NamedTuple):
    """An entity over tokens `[start, end)`."""

    start: int
    end: int
    type: str


def parse(tag: str) -> Tag:
    """One tag of a file, its prefix as B, I, E, S or O.

    Raises:
        DataError: anything else, such as a prefix without a type.
    """
    if tag == "O":
        return _OUTSIDE
    found = _TAG.fullmatch(tag)
    if not found:
        raise DataError(f"expected the tag O or B-, I-, E-, S- (L-, U-, M-) and a type, got {quoted(tag)}")
    return Tag(found[1].translate(_CANONICAL), found[2])


def decode(tags: Iterable[Tag], *, first_line: int = 1, repairs: TagRepairs | None = None) -> Iterator[TagSpan]:
    """Spans over token indices, by conlleval's rules.

    Args:
        tags: the tags of one sentence.
        first_line: line of the first tag.
        repairs: counts the tags that begin an entity without saying so.
    """
    last, start = _OUTSIDE, 0
    for index, tag in enumerate((*tags, _OUTSIDE)):
        changes = tag.prefix in "BSO" or last.prefix in "ESO" or tag.type != last.type
        if changes and last.prefix != "O":
            yield TagSpan(start, index, last.type)
        if changes and tag.prefix != "O":
            start = index
            if repairs is not None:
                repairs.add(first_line + index, tag.prefix, adjacent=tag.type == last.type)
        last = tag
