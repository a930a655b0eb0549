"""Abbreviations that a text defines: `acute renal failure (ARF)`.

After Schwartz and Hearst, "A simple algorithm for identifying abbreviation definitions in biomedical text" (PSB 2003).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kogner_ray.data.words import Words

_MAX_SHORT = 10


@dataclass(frozen=True, slots=True)
class Definition:
    """A short form in brackets and the words before it that spell it out.

    Attributes:
        first: first word of the long form.
        last: last word of the long form.
        short_at: word that is the short form.
        short: the short form, as it is written.
    """

    first: int
    last: int
    short_at: int
    short: str


def find_definitions(words: Words) -> Iterator[Definition]:
    """Definitions in a text, from left to right; the short form is one word, the long form comes before it."""
    for bracket in range(1, len(words) - 2):
        if words.texts[bracket] not in "([" or words.texts[bracket + 2] not in ")],;":
            continue
        short = words.texts[bracket + 1]
        if is_short_form(short):
            first = _first_word(short, words.texts[:bracket])
            if first is not None:
                yield Definition(first, bracket - 1, bracket + 1, short)


def is_short_form(word: str) -> bool:
    """2 to 10 characters, the first a letter or digit, one a capital."""
    return 2 <= len(word) <= _MAX_SHORT and word[0].isalnum() and any(character.isupper() for character in word)


def _first_word(short: str, before: list[str]) -> int | None:
    """Where the shortest long form starts whose characters hold those of `short` in order, the first at a start."""
    letters = [character for character in short.lower() if character.isalnum()]
    n_words = min(len(letters) + 5, 2 * len(letters))
    at = len(letters) - 1
    for index in range(len(before) - 1, max(-1, len(before) - 1 - n_words), -1):
        word = before[index].lower()
        if word in ".;:()[]":
            return None
        for place in range(len(word) - 1, -1, -1):
            if word[place] == letters[at] and (at > 0 or place == 0):
                at -= 1
                if at < 0:
                    return index if sum(map(len, before[index:])) > len(short) else None
    return None
