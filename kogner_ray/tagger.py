"""The Tagger: text in, typed and KG-linked entities out. Imports neither ray, dgl nor torchkge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import overload

import pyarrow as pa
import torch

from kogner_ray.data.spans import Document
from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.kg.ranking.links import Links
from kogner_ray.kg.ranking.mentions import Mentions, mentions_of
from kogner_ray.student.asked import Asked, Union
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.decode import ScoredSpan, resolve
from kogner_ray.student.dense import Precision
from kogner_ray.student.disambiguation import Disambiguator, Link
from kogner_ray.student.hub import push_to_hub, save_pretrained
from kogner_ray.student.loading import backend_of, load_any
from kogner_ray.student.onnx.checkpoint import OnnxCheckpoint
from kogner_ray.student.reader import Reader
from kogner_ray.student.windows import TokenisedText
from kogner_ray.tagging import TaggedEntity as TaggedEntity
from kogner_ray.tagging import TagRequest, Types

_TEXTS_AT_ONCE = 4096


class Tagger:
    """Tags texts with the entity types of a checkpoint, or with any others given by name."""

    def __init__(
        self,
        checkpoint: Checkpoint | OnnxCheckpoint,
        *,
        precision: Precision | None = None,
        vocabularies: Sequence[str] = (),
        link_threshold: float | None = None,
    ) -> None:
        """Tag with the weights that `checkpoint` has now, on the device where they are.

        Args:
            checkpoint: a model; once it is trained further, make another tagger.
            precision: `fp32`; `bf16`, for hardware that has it; `int8`, for CPUs; None is `fp32`, or what ONNX graphs
                were exported in.
            vocabularies: prefixes of ids, such as `MESH`, best first: links are to concepts that have an id of one of
                them, and give it; without any, to all, with the ids that the checkpoint was fitted to.
            link_threshold: `link_score` that a link must reach; None takes the one that was chosen with the checkpoint.

        Raises:
            ConfigError: no such precision on that device.
        """
        self._checkpoint = checkpoint
        self._linking = (tuple(vocabularies), link_threshold)
        self._reader = Reader(backend_of(checkpoint, precision), checkpoint.tokenizer)

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        precision: Precision | None = None,
        device: str | torch.device | None = None,
        vocabularies: Sequence[str] = (),
        link_threshold: float | None = None,
    ) -> Tagger:
        """The tagger of a checkpoint: a folder or, where there is none, an id on the hub, `org/name[@revision]`.

        Both may hold a checkpoint of ours or one of a GLiNER span bi-encoder; a folder also ONNX graphs.

        Args:
            name: folder or id.
            precision: `fp32`; `bf16`, for hardware that has it; `int8`, for CPUs, whose steps follow the largest number
                of a batch, so that a text's scores depend a little on the texts beside it; None is `fp32`, or what ONNX
                graphs were exported in.
            device: such as `cpu` or `cuda:1`; None takes the GPU where there is one. ONNX graphs run on the CPU.
            vocabularies: prefixes of the ids to link to, see `__init__`.
            link_threshold: `link_score` that a link must reach, see `__init__`.

        Raises:
            CheckpointError: no such folder or model, one that is not complete or of another architecture, or the hub
                cannot be reached or does not let this user in.
            ConfigError: no such precision on that device, or ONNX graphs without onnxruntime.
        """
        checkpoint = load_any(name, device=device)
        return cls(checkpoint, precision=precision, vocabularies=vocabularies, link_threshold=link_threshold)

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, token: str | None = None) -> Tagger:
        """`load` under the name that users of the hub expect; see `student.hub.load_checkpoint`."""
        return cls(load_any(name, revision=revision, token=token))

    @property
    def types(self) -> dict[str, str]:
        """Type names that the checkpoint was trained on, with the label text of each."""
        return dict(self._checkpoint.types)

    @property
    def linked(self) -> bool:
        """Whether it can link to a KG."""
        return self._checkpoint.entities is not None and self._checkpoint.kg_head is not None

    @property
    def entities(self) -> pa.Table | None:
        """Its KG's entities (id, name, type, synonyms), or None."""
        return None if self._checkpoint.entities is None else self._checkpoint.entities.entities

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
            ConfigError: `types` is a string or empty, names one twice or an empty one, or the checkpoint has none of
                its own; a threshold is no probability or of a type that is not asked for; a label text is longer than
                the label encoder can read.
        """
        several = [texts] if isinstance(texts, str) else list(texts)
        own = per_type_thresholds or {}
        request = TagRequest(several, types, threshold, own, nested=nested, multi_label=multi_label, link=link)
        found = self.tag_together([request])[0]
        return found[0] if isinstance(texts, str) else found

    def tag_together(self, requests: Sequence[TagRequest]) -> list[list[list[TaggedEntity]]]:
        """What `tag` gives for each request, with the texts of all in the same batches.

        Raises:
            ConfigError: as `tag`.
        """
        labels = [request.labels(self._checkpoint.types) for request in requests]
        asked = [
            Asked(list(own), list(own.values()), request.thresholds(own))
            for request, own in zip(requests, labels, strict=True)
        ]
        texts = [(number, text) for number, request in enumerate(requests) for text in request.texts]
        tagged: list[list[list[TaggedEntity]]] = [[] for _ in requests]
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            group = texts[first : first + _TEXTS_AT_ONCE]
            for (number, _), entities in zip(group, self._tag(group, requests, asked), strict=True):
                tagged[number].append(entities)
        return tagged

    @property
    def links(self) -> Links | None:
        """Index and ranker of its KG, or None; made now where the checkpoint has none."""
        return None if self._disambiguator is None else self._disambiguator.links

    @property
    def link_threshold(self) -> float:
        """`link_score` that a link must reach; 1 without a KG."""
        return 1.0 if self._disambiguator is None else self._disambiguator.threshold

    def candidates(self, documents: Sequence[Document], *, most: int = 5) -> list[list[list[Link]]]:
        """What the entities of `documents`, which need not be tagged, may denote, whatever the threshold.

        Returns:
            Of each document and each of its entities the `most` probable concepts, best first.

        Raises:
            ConfigError: the checkpoint has no KG.
        """
        disambiguator = self._disambiguator
        if disambiguator is None:
            raise ConfigError("link: this checkpoint has no KG to link to")
        spans = [[(entity.start, entity.end) for entity in document.entities] for document in documents]
        points_SH = self._reader.locate([document.text for document in documents], spans, disambiguator)
        found = iter(disambiguator.candidates([mentions_of(own) for own in documents], points_SH, most=most))
        return [[next(found) for _ in document.entities] for document in documents]

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the checkpoint with a model card; see `student.hub.save_pretrained`."""
        return save_pretrained(self._trainable, folder)

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
            self._trainable, repo_id, private=private, token=token, revision=revision, commit_message=commit_message
        )

    @property
    def _trainable(self) -> Checkpoint:
        if isinstance(self._checkpoint, OnnxCheckpoint):
            raise CheckpointError("ONNX graphs are no checkpoint; save the one that they were exported from")
        return self._checkpoint

    def _tag(
        self, texts: Sequence[tuple[int, str]], requests: Sequence[TagRequest], asked: Sequence[Asked]
    ) -> list[list[TaggedEntity]]:
        """Entities of each text, which comes with the number of its request."""
        here = sorted({number for number, _ in texts})
        union = Union([asked[number] for number in here])
        disambiguator = self._disambiguator if any(requests[number].link for number in here) else None
        reading = self._reader.read([text for _, text in texts], union.label_texts, union.thresholds, disambiguator)
        tagged, to_link, rows = [], [], []
        for (number, text), words, found in zip(texts, reading.tokenised, reading.spans, strict=True):
            request = requests[number]
            own = sorted(union.share(here.index(number), found), key=_rank)
            kept = resolve(own, nested=request.nested, multi_label=request.multi_label)
            entities = [_entity(text, words, span, asked[number].names) for span in kept]
            tagged.append(entities)
            if request.link:
                to_link.append((_mentions(text, words, entities), entities))
                rows += [span.row for span in kept]
        if disambiguator is not None and reading.points_SH is not None:
            _link(to_link, disambiguator, reading.points_SH[rows])
        return tagged

    @cached_property
    def _disambiguator(self) -> Disambiguator | None:
        vocabularies, threshold = self._linking
        if not self.linked:
            return None
        return Disambiguator(self._checkpoint, vocabularies=vocabularies, threshold=threshold)


def _rank(span: ScoredSpan) -> tuple[float, int, int, int]:
    return (-span.score, span.start, span.end, span.type)


def _mentions(text: str, tokenised: TokenisedText, entities: Sequence[TaggedEntity]) -> Mentions:
    return Mentions(text, tokenised.words, [e.text for e in entities], [e.type for e in entities])


def _link(
    tagged: Sequence[tuple[Mentions, list[TaggedEntity]]], disambiguator: Disambiguator, points_SH: torch.Tensor
) -> None:
    """Put KG entities into `tagged`, whose entities have the rows of `points_SH` in order."""
    links = iter(disambiguator.link([mentions for mentions, _ in tagged], points_SH))
    for _, entities in tagged:
        entities[:] = [_linked(entity, link) for entity, link in zip(entities, links, strict=False)]


def _linked(entity: TaggedEntity, link: Link | None) -> TaggedEntity:
    return entity if link is None else replace(entity, kg_id=link.id, kg_name=link.name, link_score=link.score)


def _entity(text: str, tokenised: TokenisedText, span: ScoredSpan, names: Sequence[str]) -> TaggedEntity:
    start, end = tokenised.words.starts[span.start], tokenised.words.ends[span.end]
    return TaggedEntity(start, end, text[start:end], names[span.type], span.score)
