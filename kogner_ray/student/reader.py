"""Texts in, scored spans out: windows, batches of like length, a backend on each, spans back in their texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kogner_ray.student.backend import Backend, Scorer
from kogner_ray.student.batch import collate
from kogner_ray.student.decode import ScoredSpan
from kogner_ray.student.disambiguation import Disambiguator
from kogner_ray.student.pieces import Piece, Placed, cut, pack, place
from kogner_ray.student.side_by_side import side_by_side
from kogner_ray.student.windows import TokenisedText, Windower

_LEAST_TOKENS = 256  # below, a batch costs more than its products


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
        disambiguator: Disambiguator | None = None,
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
        disambiguator: Disambiguator | None,
    ) -> tuple[Placed, torch.Tensor | None]:
        batch = collate([piece.window for piece in pieces], pad_id=self._pad_id)
        windows_of_words_W = batch.text_of_word_W.numpy()
        batch = batch.to(self._backend.device)
        halves = self._backend.halves(batch)
        placed = place(self._backend.find(halves, batch, types, thresholds), pieces, windows_of_words_W)
        if disambiguator is None:
            return placed, None
        return placed, disambiguator.project(self._backend.represent(halves, placed.found))
