"""Long texts as overlapping windows, each of which answers for some of the words, so that nothing is found twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kogner_ray.student.batch import Batch
from kogner_ray.student.decode import ScoredSpan
from kogner_ray.student.windows import TokenisedText, Window, Windower


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


def place(
    found: Sequence[ScoredSpan], pieces: Sequence[Piece], offsets: Sequence[int], batch: Batch
) -> Iterator[tuple[Piece, ScoredSpan, ScoredSpan]]:
    """Each span with its piece, as found in the batch and as words of its text; only where its piece answers for it.

    Args:
        found: spans by packed words.
        pieces: of the batch.
        offsets: first packed word of each piece.
        batch: what they were packed into.
    """
    owners = batch.text_of_word_W.cpu().numpy()
    for span in found:
        index = int(owners[span.start])
        piece = pieces[index]
        shift = piece.window.first_word - offsets[index]
        within = replace(span, start=span.start + shift, end=span.end + shift)
        if piece.first_start <= within.start < piece.end_start:
            yield piece, span, within
