"""How an annotation by names compares with gold: strict span scores, and whether the ids are right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kogner_ray.data.comparison import compare
from kogner_ray.data.metrics import SpanReport, score
from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError
from kogner_ray.silver.linking import NameLinker


@dataclass(frozen=True)
class Quality:
    """How the annotation of gold documents compares with their own.

    Attributes:
        report: strict span scores: a mention counts when start, end and type are right.
        documents: gold documents.
        ignored: gold mentions of other types.
        linked: correct mentions with an id here and one of the KG's in the gold.
        right: of these, the ones of one concept.
    """

    report: SpanReport
    documents: int
    ignored: int
    linked: int
    right: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares in [0, 1]."""
        own = {name: value for name, value in asdict(self).items() if name != "report"}
        return self.report.as_dict() | own


def estimate_quality(
    documents: Sequence[Document],
    found: Sequence[Document],
    linker: NameLinker,
    types: Sequence[str],
    *,
    bootstrap: int,
    seed: int,
) -> Quality:
    """Compare gold documents with the same ones as they were annotated by names.

    Args:
        documents: the gold sample.
        found: the annotated texts, in the same order.
        linker: what linked them; knows which ids are one concept.
        types: the types that count.
        bootstrap: resamples for the interval; 0 for none.
        seed: of the bootstrap.

    Raises:
        DataError: no gold document has a mention of one of the types.
    """
    compared = [compare(gold, own.entities, types) for gold, own in zip(documents, found, strict=True)]
    if not any(pair.gold for pair in compared):
        kinds = sorted({entity.type for document in documents for entity in document.entities})
        raise DataError(f"the gold sample has no mention of {sorted(types)}; it has {kinds}: see --types")
    report = score(
        [pair.gold for pair in compared],
        [pair.predicted for pair in compared],
        types=types,
        bootstrap=bootstrap,
        seed=seed,
    )
    ids = [_ids_right(gold, own, linker) for gold, own in zip(documents, found, strict=True)]
    linked, right = (sum(column) for column in zip(*ids, strict=True))
    return Quality(report, len(documents), sum(pair.n_ignored for pair in compared), linked, right)


def _ids_right(gold: Document, found: Document, linker: NameLinker) -> tuple[int, int]:
    """Mentions that both have and that both link to the KG, and those of them that are one concept."""
    index, linked, right = linker.linker.index, 0, 0
    own = {(e.start, e.end, e.type): e.concepts for e in found.entities if e.concepts}
    for entity in gold.entities:
        mine = own.get((entity.start, entity.end, entity.type), ())
        theirs = _concepts(entity.concepts, index.rows_with_id, index.concepts)
        if mine and theirs:
            linked += 1
            right += bool(theirs & _concepts(mine, index.rows_with_id, index.concepts))
    return linked, right


def _concepts(ids: Iterable[str], rows_of: Callable[[str], list[tuple[int, int]]], concepts: Any) -> set[int]:
    return {int(concepts[row]) for id_ in ids for row, _ in rows_of(id_)}
