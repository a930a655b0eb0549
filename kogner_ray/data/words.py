"""Words with their character offsets: GLiNER's whitespace splitter, so that both see the same words."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one text.

    Attributes:
        texts: the words' characters.
        starts: first character of each word.
        ends: one past the last character of each word.
    """

    texts: list[str]
    starts: list[int]
    ends: list[int]

    def __len__(self) -> int:
        return len(self.texts)


def split_words(text: str) -> Words:
    r"""Split `text` at `\w+(?:[-_]\w+)*|\S`; whitespace belongs to no word."""
    matches = list(_WORD.finditer(text))
    return Words([m.group() for m in matches], [m.start() for m in matches], [m.end() for m in matches])


def count_words(text: str) -> int:
    """How many words `split_words` finds, at a fraction of its cost."""
    return len(_WORD.findall(text))
