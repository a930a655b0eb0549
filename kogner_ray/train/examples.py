"""Training examples: windows with their labelled and linked spans, made of documents by `ExampleMaker`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kogner_ray.data.spans import UNKNOWN, WEIGHT, Document, Entity
from kogner_ray.errors import DataError
from kogner_ray.kg.linking import Linker
from kogner_ray.student.windows import TokenisedText, Window, Windower
from kogner_ray.train.finer import NO_FINER, FinerTypes

UNKNOWN_TYPE = -1
"""Type index of a span of which nobody knows what it is."""

_INTS = pa.list_(pa.int32())
Row = tuple[int, int, int]
_CERTAIN = np.zeros(0, dtype=np.float32)
EXAMPLE_SCHEMA = pa.schema(
    [
        ("document", pa.string()),
        ("first_word", pa.int32()),
        ("input_ids", _INTS),
        ("first_tokens", _INTS),
        ("spans", _INTS),
        ("annotated", _INTS),
        ("links", _INTS),
        ("weights", pa.list_(pa.float32())),
    ]
)
"""`spans` and `links` are flattened rows of three; see `Example`."""


@dataclass(frozen=True)
class Example:
    """One window to train on.

    Attributes:
        document: id of the document it comes from.
        window: encoder input.
        spans: (n, 3) first word, last word, type index or `UNKNOWN_TYPE`.
        annotated: type indices that were annotated here; all others are unknown, not negative.
        links: (m, 3) first word, last word, row of the entity table.
        weights: (n,) how much each of `spans` counts; empty where all are certain.
    """

    document: str
    window: Window
    spans: npt.NDArray[np.int32]
    annotated: npt.NDArray[np.int32]
    links: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32] = field(default_factory=lambda: _CERTAIN)


class ExampleMaker:
    """Documents to examples, with a count of every annotation and what became of it."""

    def __init__(
        self,
        windower: Windower,
        *,
        types: Sequence[str],
        max_width: int,
        linker: Linker | None = None,
        finer: FinerTypes = NO_FINER,
    ) -> None:
        """Make examples for a student.

        Args:
            windower: cuts texts.
            types: types to train, position = type index.
            max_width: K.
            linker: None trains without a KG.
            finer: further columns after `types`, for mentions that link to certain entities.
        """
        self._windower = windower
        self._types = {name: index for index, name in enumerate(types)} | {UNKNOWN: UNKNOWN_TYPE}
        self._max_width = max_width
        self._linker, self._finer = linker, finer

    def make(self, documents: Sequence[Document]) -> tuple[list[Example], Counter[str]]:
        """Examples of `documents`.

        Returns:
            The examples, and what became of the annotations. Each is one of `kept`, `misaligned` (a boundary within a
            word: trained on the whole words), `wide` (more than K words), `cut` (overlapping mentions wider than a
            window), `blank` (no word in it), `discontinuous`, `other_type` (a type not trained here), `unknown` (of
            type `UNKNOWN`: nothing that overlaps it is a negative); only the first two are trained on. Those of them
            that are drawn to the KG are counted once more as `linked`.
        """
        census: Counter[str] = Counter()
        examples: list[Example] = []
        texts = self._windower.tokenise([document.text for document in documents])
        for document, text in zip(documents, texts, strict=True):
            examples.extend(self._examples(document, text, census))
        return examples, census

    def _examples(self, document: Document, text: TokenisedText, census: Counter[str]) -> Iterable[Example]:
        links = self._linker.link(document) if self._linker else [None] * len(document.entities)
        placed = [self._place(entity, text) for entity in document.entities]
        windows = list(self._cuts(text, {span for _, span in placed if span is not None}))
        weights: dict[Row, float] = {}
        linked: list[Row] = []
        unlinked: list[Row] = []
        for entity, link, (fate, span) in zip(document.entities, links, placed, strict=True):
            if span is not None and not any(first <= span[0] and span[1] < end for first, end in windows):
                fate, span = "cut", None
            census[fate] += 1
            if span is None:
                continue
            rows = [(*span, self._types[entity.type])]
            if entity.type != UNKNOWN and link is not None and link.exact:
                census["linked"] += 1
                linked.append((*span, link.row))
                rows += [(*span, column) for column in self._finer.columns(link.row, within=rows[0][2])]
            else:
                unlinked += rows
            for row in rows:
                weights[row] = max(weights.get(row, 0.0), _weight(entity, document))
        annotated = self._annotated(document)
        for first, end in windows:
            window = self._windower.window(text, first, end)
            spans, known = _within(weights, first, end), self._with_finer(annotated, _within(unlinked, first, end))
            counts = _CERTAIN
            if any(weight < 1 for weight in weights.values()):
                counts = np.array([weights[i + first, j + first, t] for i, j, t in spans.tolist()], dtype=np.float32)
            yield Example(document.id, window, spans, known, _within(linked, first, end), counts)

    def _with_finer(self, annotated: npt.NDArray[np.int32], unlinked: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """`annotated` and the finer types of those of them of which the KG knows every mention here."""
        known = set(annotated.tolist()) - set(unlinked[:, 2].tolist())
        finer = [column for column, of in self._finer.parents.items() if of in known]
        return np.concatenate([annotated, np.array(finer, dtype=np.int32)]) if finer else annotated

    def _place(self, entity: Entity, text: TokenisedText) -> tuple[str, tuple[int, int] | None]:
        """What becomes of a mention, and its first and last word where it can be trained on."""
        if entity.type not in self._types:
            return "other_type", None
        if entity.fragments:
            return "discontinuous", None
        starts, ends = text.words.starts, text.words.ends
        first = int(np.searchsorted(ends, entity.start, side="right"))
        last = int(np.searchsorted(starts, entity.end, side="left")) - 1
        if last < first:
            return "blank", None
        if entity.type == UNKNOWN:
            return "unknown", (first, last)
        if last - first + 1 > self._max_width:
            return "wide", None
        exact = starts[first] == entity.start and ends[last] == entity.end
        return "kept" if exact else "misaligned", (first, last)

    def _annotated(self, document: Document) -> npt.NDArray[np.int32]:
        if document.annotated_types is None:
            return np.arange(len(self._types) - 1, dtype=np.int32)
        indices = [self._types[name] for name in document.annotated_types if name in self._types and name != UNKNOWN]
        return np.asarray(sorted(indices), dtype=np.int32)

    def _cuts(self, text: TokenisedText, spans: set[tuple[int, int]]) -> Iterable[tuple[int, int]]:
        """Windows as `[first, end)`, each as long as it can be without a mention across its end."""
        first, n_words = 0, len(text.words)
        while first < n_words:
            limit = self._windower.end_of_window(text, first)
            near = [(start, last) for start, last in spans if start < limit and last >= first]
            ends = {limit, *(start for start, _ in near if first < start)}
            end = min(ends, key=lambda end: (sum(start < end <= last for start, last in near), -end))
            yield first, end
            first = end


def _weight(entity: Entity, document: Document) -> float:
    said = entity.attributes.get(WEIGHT, "1")
    try:
        weight = float(said)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 1:
        raise DataError(f"document {document.id!r}: {WEIGHT} of {entity.type}: expected 0 to 1, got {said!r}")
    return weight


def _within(rows: Iterable[Row], first: int, end: int) -> npt.NDArray[np.int32]:
    inside = sorted({(i - first, j - first, value) for i, j, value in rows if i >= first and j < end})
    return np.asarray(inside, dtype=np.int32).reshape(-1, 3)


def to_batch(examples: Sequence[Example]) -> pa.RecordBatch:
    """Examples as Arrow rows of `EXAMPLE_SCHEMA`."""
    columns = [
        [example.document for example in examples],
        [example.window.first_word for example in examples],
        [example.window.input_ids for example in examples],
        [example.window.first_tokens for example in examples],
        [example.spans.reshape(-1) for example in examples],
        [example.annotated for example in examples],
        [example.links.reshape(-1) for example in examples],
        [example.weights for example in examples],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, EXAMPLE_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=EXAMPLE_SCHEMA)
