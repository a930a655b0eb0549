"""Long texts as overlapping windows, each of which answers for some of the words, so that nothing is found twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kogner_ray.student.decode import Found, ScoredSpan
from kogner_ray.student.windows import TokenisedText, Window, Windower

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """A window and what it answers for: the spans that start at words `first_start .. end_start - 1` of text `text`."""

    text: int
    window: Window
    first_start: int
    end_start: int


def cut(index: int, text: TokenisedText, windower: Windower, *, widest: int) -> Iterator[Piece]:
    """Windows over text number `index` that overlap by a quarter, in order.

    Each start word belongs to one of those that hold its widest span (`widest` words), to the one where it lies
    deepest.
    """
    n_words = len(text.words)
    first = low = 0
    while low < n_words:
        end = windower.end_of_window(text, first)
        if end < min(low + widest, n_words):
            first, end = low, windower.end_of_window(text, low)
        following = max(first + 1, end - max((end - first) // 4, widest))
        high = max(low + 1, min((following + end) // 2, end - widest + 1)) if end < n_words else n_words
        yield Piece(index, windower.window(text, first, end), low, high)
        first, low = following, high


def pack(pieces: Sequence[Piece], *, n_tokens: int) -> Iterator[list[Piece]]:
    """Batches of pieces of like length, longest first, of at most `n_tokens` subtokens with their padding."""
    batch: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.window.n_tokens, reverse=True):
        if batch and (len(batch) + 1) * batch[0].window.n_tokens > n_tokens:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


@dataclass(frozen=True)
class Placed:
    """Found spans with their place in the texts, as arrays of length S.

    Attributes:
        found: as words of the batch.
        texts: index of each one's text.
        starts: first word within that text.
        ends: last word within that text.
    """

    found: Found
    texts: IntArray
    starts: IntArray
    ends: IntArray

    def spans(self, *, first_row: int) -> Iterator[tuple[int, ScoredSpan]]:
        """Each one's text and itself, its row counted from `first_row`."""
        columns = (self.starts, self.ends, self.found.types, self.found.scores)
        rows = zip(self.texts.tolist(), *(column.tolist() for column in columns), strict=True)
        for row, (text, start, end, type_, score) in enumerate(rows, first_row):
            yield text, ScoredSpan(start, end, type_, score, row)


def place(found: Found, pieces: Sequence[Piece], windows_of_words_W: IntArray) -> Placed:
    """The found spans that their piece answers for, as words of their texts.

    Args:
        found: spans of a batch.
        pieces: of the batch.
        windows_of_words_W: index of the piece that each word of the batch belongs to.
    """
    offsets = np.concatenate([[0], np.cumsum([piece.window.n_words for piece in pieces])[:-1]])
    rows = [(piece.text, piece.window.first_word, piece.first_start, piece.end_start) for piece in pieces]
    texts, first_words, first_starts, end_starts = np.array(rows, dtype=np.int64).T
    owners = windows_of_words_W[found.starts]
    shifts = (first_words - offsets)[owners]
    starts = found.starts + shifts
    mine = (starts >= first_starts[owners]) & (starts < end_starts[owners])
    return Placed(found.only(mine), texts[owners][mine], starts[mine], (found.ends + shifts)[mine])
