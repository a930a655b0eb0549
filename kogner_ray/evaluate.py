"""Strict evaluation of a Tagger on annotated documents. Imports neither ray, dgl nor torchkge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from rich.table import Table

from kogner_ray.config import Config
from kogner_ray.data.metrics import Counts, SpanReport, score
from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError
from kogner_ray.tagger import Tagger


class EvaluateSettings(Config):
    """How predictions are made and compared.

    Attributes:
        threshold: probability that a span must exceed.
        nested: let predictions nest.
        bootstrap: resamples of documents for the 95 % interval of micro F1; 0 leaves it out.
        seed: of the bootstrap.
    """

    threshold: float = Field(0.5, gt=0, lt=1)
    nested: bool = False
    bootstrap: int = Field(1000, ge=0)
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one split.

    Attributes:
        report: strict span scores: a mention counts when start, end and type are right.
        n_documents: documents tagged.
        n_ignored: gold mentions of types that were not asked for.
    """

    report: SpanReport
    n_documents: int
    n_ignored: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares in [0, 1]."""
        rows = {name: _row(counts) for name, counts in sorted(self.report.per_type.items())}
        return {
            "micro": _row(self.report.micro),
            "micro_f1_interval": self.report.micro_interval,
            "macro_f1": self.report.macro_f1,
            "types": rows,
            "documents": self.n_documents,
            "gold_of_other_types": self.n_ignored,
        }


def evaluate(
    tagger: Tagger,
    documents: Sequence[Document],
    settings: EvaluateSettings,
    *,
    types: Mapping[str, str] | None = None,
) -> Evaluation:
    """Tag `documents` and compare with their annotation.

    Args:
        tagger: the model.
        documents: annotated text.
        settings: threshold, nesting, bootstrap.
        types: type name -> label text to ask for; None asks for those that the checkpoint was trained on.

    Raises:
        DataError: no document carries an annotation of the types asked for.
    """
    wanted = tagger.types if types is None else dict(types)
    found = tagger.tag(
        [document.text for document in documents],
        wanted,
        threshold=settings.threshold,
        nested=settings.nested,
        link=False,
    )
    predicted = [{(entity.start, entity.end, entity.type) for entity in entities} for entities in found]
    gold = [{(e.start, e.end, e.type) for e in document.entities if e.type in wanted} for document in documents]
    if not any(gold):
        raise DataError(f"no document has a mention of {sorted(wanted)}; there is nothing to compare with")
    ignored = sum(entity.type not in wanted for document in documents for entity in document.entities)
    report = score(gold, predicted, types=wanted, bootstrap=settings.bootstrap, seed=settings.seed)
    return Evaluation(report, len(documents), ignored)


def comparison_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """P, R and F1 a type, one group of columns an evaluation, for the terminal."""
    table = Table(title="strict span scores, test split")
    table.add_column("type")
    for name in evaluations:
        for measure in ("P", "R", "F1"):
            table.add_column(f"{measure}\n{name}", justify="right")
    first = next(iter(evaluations.values()))
    for type_ in sorted(first.report.per_type):
        table.add_row(type_, *_cells(e.report.per_type.get(type_, Counts()) for e in evaluations.values()))
    table.add_section()
    table.add_row("all (micro)", *_cells(e.report.micro for e in evaluations.values()))
    return table


def _cells(counts: Any) -> list[str]:
    return [f"{100 * value:.1f}" for c in counts for value in (c.precision, c.recall, c.f1)]


def _row(counts: Counts) -> dict[str, float]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "gold": counts.n_gold,
        "predicted": counts.n_predicted,
        "correct": counts.n_correct,
    }
