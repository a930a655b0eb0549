"""The Tagger: text in, typed and KG-linked entities out. Imports neither ray, dgl nor torchkge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias, overload

import torch

from kogner_ray.errors import ConfigError
from kogner_ray.kg.linking import Linker
from kogner_ray.student.batch import Batch, collate, word_offsets
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint
from kogner_ray.student.decode import ScoredSpan, above_threshold, resolve
from kogner_ray.student.gliner import CONFIG as GLINER_CONFIG
from kogner_ray.student.gliner import read_gliner
from kogner_ray.student.spans import SpanHalves
from kogner_ray.student.windows import TokenisedText, Window, Windower

Types: TypeAlias = Sequence[str] | Mapping[str, str] | None
"""Type names, or name -> label text, or None for those that a checkpoint was trained on."""

_TOKENS_A_BATCH = 4096
LINK_THRESHOLD = 0.0
"""Cosine to H below which a mention with several candidates stays unlinked."""


@dataclass(frozen=True, slots=True)
class TaggedEntity:
    """A mention found in a text.

    Attributes:
        start: first character.
        end: one past the last character.
        text: the characters.
        type: entity type.
        score: probability of the type.
        kg_id: id of the KG entity it denotes, or None when it stays unlinked.
        kg_name: that entity's name.
        link_score: cosine between the mention's projection and the entity's row of H.
    """

    start: int
    end: int
    text: str
    type: str
    score: float
    kg_id: str | None = None
    kg_name: str | None = None
    link_score: float | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A window, the text it comes from, and the words of it whose spans it answers for."""

    text: int
    window: Window
    first_start: int
    end_start: int


class Tagger:
    """Tags texts with the entity types of a checkpoint, or with any others given by name."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Tag with `checkpoint`; its modules are used as they are, whatever device they are on."""
        self._checkpoint = checkpoint
        self._student = checkpoint.student
        self._windower = Windower(checkpoint.tokenizer, max_tokens=checkpoint.student.config.max_tokens)
        self._pad_id = checkpoint.tokenizer.pad_token_id or 0

    @classmethod
    def load(cls, folder: str | Path) -> Tagger:
        """The tagger of a checkpoint folder, ours or one of a GLiNER span bi-encoder.

        Raises:
            CheckpointError: the folder is no complete checkpoint, or one of another architecture.
        """
        return cls(read_gliner(folder) if (Path(folder) / GLINER_CONFIG).is_file() else read_checkpoint(folder))

    @property
    def types(self) -> dict[str, str]:
        """Type names that the checkpoint was trained on, with the label text of each."""
        return dict(self._checkpoint.types)

    @overload
    def tag(  # type: ignore[overload-overlap]  # a string is also a sequence of strings; it is taken as one text
        self,
        texts: str,
        types: Types = ...,
        *,
        threshold: float = ...,
        nested: bool = ...,
        multi_label: bool = ...,
        link: bool = ...,
    ) -> list[TaggedEntity]: ...

    @overload
    def tag(
        self,
        texts: Sequence[str],
        types: Types = ...,
        *,
        threshold: float = ...,
        nested: bool = ...,
        multi_label: bool = ...,
        link: bool = ...,
    ) -> list[list[TaggedEntity]]: ...

    def tag(
        self,
        texts: str | Sequence[str],
        types: Types = None,
        *,
        threshold: float = 0.5,
        nested: bool = False,
        multi_label: bool = False,
        link: bool = True,
    ) -> list[TaggedEntity] | list[list[TaggedEntity]]:
        """Find entities.

        Args:
            texts: one text, or several.
            types: type names, or name -> label text; None takes the types that the checkpoint was trained on.
            threshold: probability that a span must exceed.
            nested: keep entities within entities.
            multi_label: let the same characters carry several types.
            link: link to the checkpoint's KG where it has one.

        Returns:
            The entities of the text in order; a list of such lists when several texts were given.

        Raises:
            ConfigError: `types` is a string, there are none, or a label text is longer than the label encoder can read.
        """
        several = [texts] if isinstance(texts, str) else list(texts)
        labels = self._labels(types)
        with torch.inference_mode(), _evaluating(self._student):
            found = self._tag(several, labels, threshold, nested=nested, multi_label=multi_label, link=link)
        return found[0] if isinstance(texts, str) else found

    def _labels(self, types: Types) -> dict[str, str]:
        if types is None and not self.types:
            raise ConfigError("types: this checkpoint has none of its own; name some")
        if types is None:
            return self.types
        if isinstance(types, str):
            raise ConfigError(f"types: expected a list of names, got the string {types!r}")
        if isinstance(types, Mapping):
            return dict(types)
        return {name: self._checkpoint.types.get(name, name) for name in types}

    def _tag(
        self, texts: list[str], labels: dict[str, str], threshold: float, *, nested: bool, multi_label: bool, link: bool
    ) -> list[list[TaggedEntity]]:
        if not labels:
            return [[] for _ in texts]
        tokenised = self._windower.tokenise(texts)
        prototypes_CD = self._prototypes(list(labels.values()))
        spans: list[list[ScoredSpan]] = [[] for _ in texts]
        points: dict[tuple[int, int, int], torch.Tensor] = {}
        for pieces in self._batches(tokenised):
            windows = [piece.window for piece in pieces]
            batch = collate(windows, pad_id=self._pad_id).to(self._student.device)
            halves = self._student.halves(batch)
            logits_KWC = self._student.marker.score(halves, prototypes_CD)
            found = above_threshold(logits_KWC, batch.text_of_word_W, threshold)
            placed = _place(found, pieces, word_offsets(windows), batch)
            for piece, span, within in placed:
                spans[piece.text].append(within)
                if link and self._linker is not None:
                    key = (piece.text, within.start, within.end)
                    points[key] = self._project(halves, span)
        names = list(labels)
        resolved = [resolve(sorted(found, key=_rank), nested=nested, multi_label=multi_label) for found in spans]
        entities = [[_entity(texts[t], tokenised[t], s, names) for s in resolved[t]] for t in range(len(texts))]
        if link and self._linker is not None:
            for t, kept in enumerate(resolved):
                entities[t] = [
                    self._linked(entity, points[t, span.start, span.end])
                    for entity, span in zip(entities[t], kept, strict=True)
                ]
        return entities

    def _prototypes(self, label_texts: list[str]) -> torch.Tensor:
        embeddings_CD = self._student.encode_labels(label_texts, self._checkpoint.labels_tokenizer)
        return self._student.prototypes(embeddings_CD)

    def _batches(self, texts: Sequence[TokenisedText]) -> list[list[_Piece]]:
        pieces = [piece for index, text in enumerate(texts) for piece in self._pieces(index, text)]
        pieces.sort(key=lambda piece: piece.window.n_tokens, reverse=True)
        batches: list[list[_Piece]] = []
        for piece in pieces:
            if not batches or (len(batches[-1]) + 1) * batches[-1][0].window.n_tokens > _TOKENS_A_BATCH:
                batches.append([])
            batches[-1].append(piece)
        return batches

    def _pieces(self, index: int, text: TokenisedText) -> list[_Piece]:
        """Windows that overlap by a quarter; each start word belongs to one that holds its widest span.

        Of those, to the one where it lies deepest.
        """
        n_words, widest = len(text.words), self._student.config.max_width
        pieces: list[_Piece] = []
        first = low = 0
        while low < n_words:
            end = self._windower.end_of_window(text, first)
            if end < min(low + widest, n_words):
                first, end = low, self._windower.end_of_window(text, low)
            following = max(first + 1, end - max((end - first) // 4, widest))
            high = max(low + 1, min((following + end) // 2, end - widest + 1)) if end < n_words else n_words
            pieces.append(_Piece(index, self._windower.window(text, first, end), low, high))
            first, low = following, high
        return pieces

    def _project(self, halves: SpanHalves, span: ScoredSpan) -> torch.Tensor:
        assert self._checkpoint.kg_head is not None
        at = [torch.tensor([word], device=halves.starts_WF.device) for word in (span.start, span.end)]
        point: torch.Tensor = self._checkpoint.kg_head(self._student.marker.represent(halves, at[0], at[1]))[0]
        return point

    @cached_property
    def _linker(self) -> Linker | None:
        if self._checkpoint.entities is None or self._checkpoint.kg_head is None:
            return None
        return Linker.from_table(self._checkpoint.entities.entities)

    @cached_property
    def _directions_NH(self) -> torch.Tensor:
        assert self._checkpoint.entities is not None
        stacked = self._checkpoint.entities.stacked(self._checkpoint.modalities)
        return torch.nn.functional.normalize(stacked, dim=1)

    def _linked(self, entity: TaggedEntity, point_H: torch.Tensor) -> TaggedEntity:
        assert self._linker is not None and self._checkpoint.entities is not None
        rows = self._linker.candidates(entity.text, [entity.type]) or self._linker.candidates(entity.text)
        if not rows:
            return entity
        direction_H = torch.nn.functional.normalize(point_H.float().cpu(), dim=0)
        scores = self._directions_NH[torch.tensor(rows)] @ direction_H
        best = int(scores.argmax())
        if len(rows) > 1 and float(scores[best]) < LINK_THRESHOLD:
            return entity
        row = self._checkpoint.entities.entities.slice(rows[best], 1).to_pylist()[0]
        return replace(entity, kg_id=row["id"], kg_name=row["name"], link_score=float(scores[best]))


def _rank(span: ScoredSpan) -> tuple[float, int, int, int]:
    return (-span.score, span.start, span.end, span.type)


def _place(
    found: Sequence[ScoredSpan], pieces: Sequence[_Piece], offsets: Sequence[int], batch: Batch
) -> list[tuple[_Piece, ScoredSpan, ScoredSpan]]:
    """Each span with its piece, as found in the batch and as words of its text; only where its piece answers for it."""
    owners = batch.text_of_word_W.cpu().numpy()
    placed = []
    for span in found:
        index = int(owners[span.start])
        piece = pieces[index]
        shift = piece.window.first_word - offsets[index]
        within = replace(span, start=span.start + shift, end=span.end + shift)
        if piece.first_start <= within.start < piece.end_start:
            placed.append((piece, span, within))
    return placed


def _entity(text: str, tokenised: TokenisedText, span: ScoredSpan, names: Sequence[str]) -> TaggedEntity:
    start, end = tokenised.words.starts[span.start], tokenised.words.ends[span.end]
    return TaggedEntity(start, end, text[start:end], names[span.type], span.score)


class _evaluating:  # noqa: N801
    """Evaluation mode for a while, so that tagging with a model in training draws no dropout."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module, self._was_training = module, module.training

    def __enter__(self) -> None:
        self._module.eval()

    def __exit__(self, *exception: object) -> None:
        self._module.train(self._was_training)
