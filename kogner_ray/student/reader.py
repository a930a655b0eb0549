"""Texts in, scored spans out: windows, batches of like length, a backend on each, spans back in their texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.student.backend import Backend, Scorer
from kogner_ray.student.batch import collate
from kogner_ray.student.decode import Found, ScoredSpan
from kogner_ray.student.pieces import Piece, Placed, cut, pack, place
from kogner_ray.student.side_by_side import side_by_side
from kogner_ray.student.windows import TokenisedText, Windower
from kogner_ray.track import tracked

_LEAST_TOKENS = 256  # below, a batch costs more than its products


class Projector(Protocol):
    """Says where spans lie in the KG's space."""

    def project(self, spans_SD: torch.Tensor) -> torch.Tensor:
        """(S, H) on the CPU, rows of length 1."""
        ...


@dataclass(frozen=True)
class Reading:
    """What was found in some texts.

    Attributes:
        tokenised: the texts' words.
        spans: of each text, in no order, overlaps and all; `row` is that of `points_SH`.
        points_SH: where each span lies in the KG's space, if that was asked for.
    """

    tokenised: list[TokenisedText]
    spans: list[list[ScoredSpan]]
    points_SH: torch.Tensor | None


class Reader:
    """Finds spans with a backend."""

    def __init__(self, backend: Backend, tokenizer: Any) -> None:
        """`tokenizer`: of the text encoder."""
        self._backend = backend
        self._windower = Windower(tokenizer, max_tokens=backend.config.max_tokens)
        self._pad_id = tokenizer.pad_token_id or 0

    def read(
        self,
        texts: Sequence[str],
        label_texts: Sequence[str],
        thresholds: Sequence[float],
        disambiguator: Projector | None = None,
    ) -> Reading:
        """Every span above its type's threshold.

        Args:
            texts: texts of any length.
            label_texts: of the types.
            thresholds: a probability a type.
            disambiguator: says where spans lie in the KG's space.
        """
        with torch.inference_mode():
            types = self._backend.fold(label_texts)
        tokenised = self._windower.tokenise(texts)

        def read(pieces: list[Piece]) -> tuple[Placed, torch.Tensor | None]:
            with torch.inference_mode():  # of each thread its own
                return self._read(pieces, types, thresholds, disambiguator)

        spans: list[list[ScoredSpan]] = [[] for _ in texts]
        points: list[torch.Tensor] = []
        n_spans = 0
        n_threads = torch.get_num_threads() if self._backend.side_by_side else 1
        for placed, points_SH in side_by_side(read, self.batches(tokenised, n_threads), n_threads=n_threads):
            for text, span in placed.spans(first_row=n_spans):
                spans[text].append(span)
            n_spans += len(placed.texts)
            if points_SH is not None:
                points.append(points_SH)
        return Reading(tokenised, spans, torch.cat(points) if points else None)

    def locate(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]], disambiguator: Projector
    ) -> torch.Tensor:
        """Where given spans lie in the KG's space, found or not, (S, H) in the order of the texts and their spans.

        Args:
            texts: texts of any length.
            spans: first and one past the last character of some of each; one without a word in it lies at 0.
            disambiguator: says where spans lie in the KG's space.
        """
        tokenised = self._windower.tokenise(texts)
        placed = [_as_words(text, own) for text, own in zip(tokenised, spans, strict=True)]
        first_rows = np.concatenate([[0], np.cumsum([len(own) for own in placed])]).astype(np.int64)
        points_SH: torch.Tensor | None = None
        batches = self.batches(tokenised, 1)
        for pieces in tracked(batches, "mentions", total=len(batches)):
            rows, starts, ends = _held_by(pieces, placed, first_rows)
            batch = collate([piece.window for piece in pieces], pad_id=self._pad_id).to(self._backend.device)
            nothing = np.zeros(len(rows))
            found = Found(starts, ends, nothing.astype(np.int64), nothing.astype(np.float32))
            with torch.inference_mode():
                own_SH = disambiguator.project(self._backend.represent(self._backend.halves(batch), found))
            points_SH = torch.zeros(int(first_rows[-1]), own_SH.shape[1]) if points_SH is None else points_SH
            points_SH[torch.from_numpy(rows)] = own_SH
        return torch.zeros(0, 0) if points_SH is None else points_SH

    def pieces(self, texts: Sequence[TokenisedText]) -> Iterator[Piece]:
        """The windows of texts, each with what it answers for."""
        widest = self._backend.config.max_width
        for index, text in enumerate(texts):
            yield from cut(index, text, self._windower, widest=widest)

    def batches(self, texts: Sequence[TokenisedText], n_threads: int) -> list[list[Piece]]:
        """Windows of like length together, enough batches for every thread."""
        pieces = list(self.pieces(texts))
        each = sum(piece.window.n_tokens for piece in pieces) // n_threads + 1
        return list(pack(pieces, n_tokens=max(_LEAST_TOKENS, min(each, self._backend.tokens_a_batch))))

    def _read(
        self,
        pieces: list[Piece],
        types: Sequence[Scorer],
        thresholds: Sequence[float],
        disambiguator: Projector | None,
    ) -> tuple[Placed, torch.Tensor | None]:
        batch = collate([piece.window for piece in pieces], pad_id=self._pad_id)
        windows_of_words_W = batch.text_of_word_W.numpy()
        batch = batch.to(self._backend.device)
        halves = self._backend.halves(batch)
        placed = place(self._backend.find(halves, batch, types, thresholds), pieces, windows_of_words_W)
        if disambiguator is None:
            return placed, None
        return placed, disambiguator.project(self._backend.represent(halves, placed.found))


def _as_words(text: TokenisedText, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last word of each span of characters; the last comes before the first where there is none."""
    starts, ends = np.array(text.words.starts), np.array(text.words.ends)
    return [
        (int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, end, side="left")) - 1)
        for start, end in spans
    ]


def _held_by(
    pieces: Sequence[Piece], spans: Sequence[Sequence[tuple[int, int]]], first_rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row, first and last packed word of the spans that the pieces of a batch answer for, cut where a window ends."""
    held: list[tuple[int, int, int]] = []
    offset = 0
    for piece in pieces:
        shift, n_words = offset - piece.window.first_word, piece.window.n_words
        held += [
            (int(first_rows[piece.text]) + place, first + shift, min(last + shift, offset + n_words - 1))
            for place, (first, last) in enumerate(spans[piece.text])
            if piece.first_start <= first < piece.end_start and first <= last
        ]
        offset += n_words
    rows, starts, ends = np.array(held, dtype=np.int64).reshape(-1, 3).T
    return rows, starts, ends
