"""The Tagger: text in, typed and KG-linked entities out. Imports neither ray, dgl nor torchkge."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias, overload

import torch

from kogner_ray.errors import ConfigError
from kogner_ray.student.batch import collate, word_offsets
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.decode import ScoredSpan, above_threshold, resolve
from kogner_ray.student.disambiguation import Disambiguator
from kogner_ray.student.hub import load_checkpoint, push_to_hub, save_pretrained
from kogner_ray.student.pieces import Piece, cut, pack, place
from kogner_ray.student.windows import TokenisedText, Windower

Types: TypeAlias = Sequence[str] | Mapping[str, str] | None
"""Type names, or name -> label text, or None for those that a checkpoint was trained on."""

_TOKENS_A_BATCH = 4096


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


class Tagger:
    """Tags texts with the entity types of a checkpoint, or with any others given by name."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Tag with `checkpoint`; its modules are used as they are, whatever device they are on."""
        self._checkpoint = checkpoint
        self._student = checkpoint.student
        self._windower = Windower(checkpoint.tokenizer, max_tokens=checkpoint.student.config.max_tokens)
        self._pad_id = checkpoint.tokenizer.pad_token_id or 0

    @classmethod
    def load(cls, name: str | Path) -> Tagger:
        """The tagger of a checkpoint: a folder or, where there is none, an id on the hub, `org/name[@revision]`.

        Both may hold a checkpoint of ours or one of a GLiNER span bi-encoder.

        Raises:
            CheckpointError: no such folder or model, one that is not complete or of another architecture, or the hub
                cannot be reached or does not let this user in.
        """
        return cls(load_checkpoint(name))

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, token: str | None = None) -> Tagger:
        """`load` under the name that users of the hub expect; see `student.hub.load_checkpoint`."""
        return cls(load_checkpoint(name, revision=revision, token=token))

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
        per_type_thresholds: Mapping[str, float] | None = ...,
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
        per_type_thresholds: Mapping[str, float] | None = ...,
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
        per_type_thresholds: Mapping[str, float] | None = None,
        nested: bool = False,
        multi_label: bool = False,
        link: bool = True,
    ) -> list[TaggedEntity] | list[list[TaggedEntity]]:
        """Find entities.

        Args:
            texts: one text, or several.
            types: type names, or name -> label text; None takes the types that the checkpoint was trained on.
            threshold: probability that a span must exceed.
            per_type_thresholds: type -> probability, where it is another one.
            nested: keep entities within entities.
            multi_label: let the same characters carry several types.
            link: link to the checkpoint's KG where it has one.

        Returns:
            The entities of the text in order; a list of such lists when several texts were given.

        Raises:
            ConfigError: `types` is a string, names one twice or an empty one, or the checkpoint has none of its own; a
                threshold is no probability or of a type that is not asked for; a label text is longer than the label
                encoder can read.
        """
        several = [texts] if isinstance(texts, str) else list(texts)
        labels = self._labels(types)
        limits = _thresholds(labels, threshold, per_type_thresholds or {})
        with torch.inference_mode(), _evaluating(self._student):
            found = self._tag(several, labels, limits, nested=nested, multi_label=multi_label, link=link)
        return found[0] if isinstance(texts, str) else found

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the checkpoint with a model card; see `student.hub.save_pretrained`."""
        return save_pretrained(self._checkpoint, folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload the checkpoint with a model card and return its address; see `student.hub.push_to_hub`."""
        return push_to_hub(
            self._checkpoint, repo_id, private=private, token=token, revision=revision, commit_message=commit_message
        )

    def _labels(self, types: Types) -> dict[str, str]:
        if types is None and not self.types:
            raise ConfigError("types: this checkpoint has none of its own; name some")
        if types is None:
            return self.types
        if isinstance(types, str):
            raise ConfigError(f"types: expected a list of names, got the string {types!r}")
        names = list(types)
        if wrong := sorted({name for name in names if names.count(name) > 1 or not name.strip()}):
            raise ConfigError(f"types: expected names, each once, got {wrong[0]!r} {names.count(wrong[0])} times")
        if isinstance(types, Mapping):
            return dict(types)
        return {name: self._checkpoint.types.get(name, name) for name in names}

    def _tag(
        self,
        texts: list[str],
        labels: dict[str, str],
        thresholds: list[float],
        *,
        nested: bool,
        multi_label: bool,
        link: bool,
    ) -> list[list[TaggedEntity]]:
        if not labels:
            return [[] for _ in texts]
        tokenised = self._windower.tokenise(texts)
        prototypes_CD = self._prototypes(list(labels.values()))
        disambiguator = self._disambiguator if link else None
        spans: list[list[ScoredSpan]] = [[] for _ in texts]
        points: dict[tuple[int, int, int], torch.Tensor] = {}
        for pieces in self._batches(tokenised):
            windows = [piece.window for piece in pieces]
            batch = collate(windows, pad_id=self._pad_id).to(self._student.device)
            halves = self._student.halves(batch)
            found = above_threshold(self._student.marker.score(halves, prototypes_CD), batch.text_of_word_W, thresholds)
            for piece, span, within in place(found, pieces, word_offsets(windows), batch):
                spans[piece.text].append(within)
                if disambiguator is not None:
                    points[piece.text, within.start, within.end] = disambiguator.project(halves, span)
        names = list(labels)
        tagged = []
        for index, text in enumerate(texts):
            resolved = resolve(sorted(spans[index], key=_rank), nested=nested, multi_label=multi_label)
            entities = [_entity(text, tokenised[index], span, names) for span in resolved]
            if disambiguator is not None:
                placed = zip(entities, resolved, strict=True)
                entities = [_linked(e, disambiguator, points[index, span.start, span.end]) for e, span in placed]
            tagged.append(entities)
        return tagged

    def _prototypes(self, label_texts: list[str]) -> torch.Tensor:
        embeddings_CD = self._student.encode_labels(label_texts, self._checkpoint.labels_tokenizer)
        return self._student.prototypes(embeddings_CD)

    def _batches(self, texts: Sequence[TokenisedText]) -> Iterator[list[Piece]]:
        widest = self._student.config.max_width
        cuts = (cut(index, text, self._windower, widest=widest) for index, text in enumerate(texts))
        return pack([piece for pieces in cuts for piece in pieces], n_tokens=_TOKENS_A_BATCH)

    @cached_property
    def _disambiguator(self) -> Disambiguator | None:
        if self._checkpoint.entities is None or self._checkpoint.kg_head is None:
            return None
        return Disambiguator(self._checkpoint)


def _thresholds(labels: Collection[str], threshold: float, own: Mapping[str, float]) -> list[float]:
    if foreign := sorted(own.keys() - set(labels)):
        raise ConfigError(f"per_type_thresholds: {foreign[0]!r} is none of the types {sorted(labels)}")
    limits = [own.get(name, threshold) for name in labels]
    if wrong := [limit for limit in (threshold, *limits) if not 0 <= limit <= 1]:
        raise ConfigError(f"threshold: expected a probability from 0 to 1, got {wrong[0]}")
    return limits


def _rank(span: ScoredSpan) -> tuple[float, int, int, int]:
    return (-span.score, span.start, span.end, span.type)


def _linked(entity: TaggedEntity, disambiguator: Disambiguator, point_H: torch.Tensor) -> TaggedEntity:
    link = disambiguator.link(entity.text, entity.type, point_H)
    return entity if link is None else replace(entity, kg_id=link.id, kg_name=link.name, link_score=link.score)


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
