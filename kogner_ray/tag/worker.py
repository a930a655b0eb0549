"""The actor of the pool: tags chunks, and writes each as one file under its own name."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import ray
import torch
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.data.spans import Entity
from kogner_ray.errors import ConfigError, KognerError
from kogner_ray.student.dense import Precision
from kogner_ray.tag.attempts import Attempts
from kogner_ray.tag.chunks import Chunk, Failure, Numbered
from kogner_ray.tag.counts import Counts
from kogner_ray.tag.output import OutputFolder
from kogner_ray.tag.tables import TaggedChunk, documents_table, write_chunk
from kogner_ray.tagger import TaggedEntity, Tagger


class Tagging(Config):
    """What decides which entities are found, as for `Tagger.tag`.

    Attributes:
        checkpoint: folder of a checkpoint, which every node must see, or an id on the hub.
        types: names, or name -> label text; those of the training when None.
        threshold: probability that a span must exceed.
        per_type_thresholds: type -> probability, where it is another one.
        nested: keep entities within entities.
        multi_label: let the same characters carry several types.
        link: link to the checkpoint's KG where it has one.
        vocabularies: prefixes of the ids to link to, best first; see `Tagger`.
        link_threshold: probability that a link must reach; None takes the checkpoint's.
        precision: numbers that the model computes with; None is fp32, or what ONNX graphs were exported in.
    """

    checkpoint: str
    types: dict[str, str] | tuple[str, ...] | None = None
    threshold: float = Field(0.5, ge=0, le=1)
    per_type_thresholds: dict[str, float] = Field(default_factory=dict)
    nested: bool = False
    multi_label: bool = False
    link: bool = True
    vocabularies: tuple[str, ...] = ()
    link_threshold: float | None = None
    precision: Precision | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What the driver hears of a chunk, or of the end of an input.

    Attributes:
        input: name of the input.
        chunk: number of the chunk; at the end of an input, how many it has.
        counts: amounts of the chunk; None at the end of an input.
        reason: why its first failure failed, or "".
        worker: the process that tagged it.
        error: what stops the run, or None. Not raised in the actor: Ray Data would wrap it beyond recognition.
    """

    input: str
    chunk: int
    counts: Counts | None = None
    reason: str = ""
    worker: str = ""
    error: KognerError | None = None


class TagWorker:
    """Loads the Tagger once, then turns rows of `chunks.ROW` into pickled `Result`s."""

    def __init__(
        self, tagging: Tagging, output: OutputFolder, attempts: Attempts, *, threads: int, device: str
    ) -> None:
        """An error of ours is kept for the first chunk: Ray would run a failing constructor again and again."""
        torch.set_num_threads(threads)
        self._output, self._tagging, self._attempts = output, tagging, attempts
        self._name = f"{ray.get_runtime_context().get_node_id()}:{os.getpid()}"
        self._tagger: Tagger | KognerError
        try:
            self._tagger = load_tagger(tagging, device)
        except KognerError as error:
            self._tagger = error

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Tag and commit the chunks of `rows`."""
        results = [self._result(**row) for row in rows.to_pylist()]
        return pa.table({"result": pa.array([pickle.dumps(result) for result in results], pa.binary())})

    def _result(self, *, input: str, chunk: int, payload: bytes | None) -> Result:
        if payload is None:
            return Result(input, chunk)
        try:
            return self._commit(input, pickle.loads(payload))
        except KognerError as error:
            return Result(input, chunk, error=error)

    def _commit(self, input: str, chunk: Chunk) -> Result:
        if isinstance(self._tagger, KognerError):
            raise self._tagger
        tag: Callable[[Numbered], pa.Table] = partial(_tag, self._tagger, self._tagging)
        if self._attempts.exhausted(input, chunk.number):
            tag = partial(self._tag_alone, tag, input)
        tagged = tag_chunk(chunk, tag)
        counts = write_chunk(tagged, self._output, input)
        reason = tagged.failures[0].reason if tagged.failures else ""
        return Result(input, chunk.number, counts, reason, self._name)

    def _tag_alone(self, tag: Callable[[Numbered], pa.Table], name: str, documents: Numbered) -> pa.Table:
        """One document; one that has taken its process down whenever it was tagged is not tagged again."""
        if len(documents) > 1:
            raise ValueError("expected one document")  # `tag_chunk` then halves them
        if self._attempts.exhausted(name, "record", documents[0][0]):
            raise RuntimeError("the process that tagged it died each time")
        return tag(documents)


def tag_chunk(chunk: Chunk, tag: Callable[[Numbered], pa.Table]) -> TaggedChunk:
    """What becomes of `chunk`: whatever `tag` cannot do is halved until the documents at fault stand alone.

    Args:
        chunk: what was read.
        tag: record numbers and documents -> the documents with their entities, in the shape of `tables.CHUNK`.

    Raises:
        ConfigError: `tag` refuses its settings; no document is to blame.
    """
    failures = list(chunk.failures)
    parts = list(_parts(chunk.documents, tag, failures)) if chunk.documents else []
    return TaggedChunk(chunk.number, parts, sorted(failures, key=lambda failure: failure.record), chunk.n_bytes)


def _parts(documents: Numbered, tag: Callable[[Numbered], pa.Table], failures: list[Failure]) -> Iterator[pa.Table]:
    try:
        table = tag(documents)
    except ConfigError:
        raise
    except Exception as error:
        if len(documents) == 1:
            number, document = documents[0]
            failures.append(Failure(number, f"{type(error).__name__}: {error}", document.id))
            return
    else:
        yield table
        return
    middle = len(documents) // 2
    yield from _parts(documents[:middle], tag, failures)
    yield from _parts(documents[middle:], tag, failures)


def load_tagger(tagging: Tagging, device: str) -> Tagger:
    """The tagger of `tagging`, whose types and thresholds it has checked."""
    tagger = Tagger.load(
        tagging.checkpoint,
        precision=tagging.precision,
        device=device,
        vocabularies=tagging.vocabularies,
        link_threshold=tagging.link_threshold,
    )
    tagger.tag([""], tagging.types, threshold=tagging.threshold, per_type_thresholds=tagging.per_type_thresholds)
    return tagger


def _tag(tagger: Tagger, tagging: Tagging, documents: Numbered) -> pa.Table:
    for _, document in documents:
        document.text.encode()  # a lone surrogate is no character, and the tokenizer's word for it would be obscure
    found = tagger.tag(
        [document.text for _, document in documents],
        tagging.types,
        threshold=tagging.threshold,
        per_type_thresholds=tagging.per_type_thresholds,
        nested=tagging.nested,
        multi_label=tagging.multi_label,
        link=tagging.link,
    )
    types = tuple(tagging.types or tagger.types)
    tagged = [
        (number, replace(document, entities=tuple(map(_entity, entities)), annotated_types=types, relations=()))
        for (number, document), entities in zip(documents, found, strict=True)
    ]
    return documents_table(tagged)


def _entity(found: TaggedEntity) -> Entity:
    attributes = {"score": f"{found.score:.6g}"}
    if found.kg_id is None:
        return Entity(found.start, found.end, found.type, attributes=attributes)
    attributes["kg_name"] = found.kg_name or ""
    if found.link_score is not None:
        attributes["link_score"] = f"{found.link_score:.6g}"
    return Entity(found.start, found.end, found.type, concepts=(found.kg_id,), attributes=attributes)
