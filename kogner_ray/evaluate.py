"""Strict evaluation of a Tagger on annotated documents. Imports neither ray, dgl nor torchkge."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console
from rich.table import Table

from kogner_ray.config import Config
from kogner_ray.data.comparison import Compared, compare
from kogner_ray.data.files import replacing
from kogner_ray.data.metrics import Counts, SpanReport, conll_report, score
from kogner_ray.data.named import read_named
from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError
from kogner_ray.link_scores import LinkReport, score_links
from kogner_ray.tagger import TaggedEntity, Tagger
from kogner_ray.track import tracked

__all__ = [
    "Compared",
    "EvaluateConfig",
    "EvaluateSettings",
    "Evaluation",
    "compare",
    "comparison_table",
    "evaluate",
    "run_evaluation",
]

_GROUP = 512


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


class EvaluateConfig(EvaluateSettings):
    """An evaluation of one checkpoint.

    Attributes:
        checkpoint: its folder.
        corpus: annotated files, or one name: `embedded` or an entry of the catalog (downloaded on first use).
        split: of a named corpus.
        format: of the files; None guesses it from each.
        types: type names to ask for; None takes those that the checkpoint was trained on.
        link: also score linking, where the corpus has concept ids and the checkpoint a KG that knows them.
        conll: also print seqeval's CoNLL report, which takes flat spans only.
        output: file for the scores as JSON.
    """

    checkpoint: Path
    corpus: tuple[str, ...] = Field(min_length=1)
    split: str = "test"
    format: str | None = None
    types: tuple[str, ...] | None = None
    link: bool = True
    conll: bool = False
    output: Path | None = None


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one split.

    Attributes:
        report: strict span scores: a mention counts when start, end and type are right.
        n_documents: documents tagged.
        n_ignored: gold mentions of types that were not asked for.
        links: of linking, where that was asked for and the corpus has ids that the KG knows.
    """

    report: SpanReport
    n_documents: int
    n_ignored: int
    links: LinkReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares in [0, 1]."""
        return self.report.as_dict() | {
            "documents": self.n_documents,
            "gold_of_other_types": self.n_ignored,
            **({} if self.links is None else {"linking": self.links.as_dict()}),
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
    return _score(_compared(documents, _tag(tagger, documents, settings, wanted), wanted), settings, wanted)


def run_evaluation(config: EvaluateConfig, console: Console) -> Evaluation:
    """Score a checkpoint on a corpus and print the result.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the corpus is neither files nor a data set of the catalog, or has no such split.
        DataError: a file is malformed, or no document has a mention of the types asked for.
        UnsupportedAnnotation: a CoNLL report was asked for and spans overlap.
    """
    documents = read_named(config.corpus, split=config.split, format=config.format)
    tagger = Tagger.load(config.checkpoint)
    trained = tagger.types
    wanted = trained if config.types is None else {name: trained.get(name, name) for name in config.types}
    found = _tag(tagger, documents, config, wanted, link=config.link)
    compared = _compared(documents, found, wanted)
    links = score_links(tagger, documents, found, wanted) if config.link else None
    evaluation = replace(_score(compared, config, wanted), links=links)
    if config.output is not None:
        _write_json(evaluation, config)
    _print(evaluation, config, console)
    if config.conll:
        report = conll_report([c.gold for c in compared], [c.predicted for c in compared])
        console.print(report, highlight=False, markup=False, soft_wrap=True)
    return evaluation


def _tag(
    tagger: Tagger,
    documents: Sequence[Document],
    settings: EvaluateSettings,
    types: Mapping[str, str],
    *,
    link: bool = False,
) -> list[list[TaggedEntity]]:
    groups = [documents[start : start + _GROUP] for start in range(0, len(documents), _GROUP)]
    tagged: list[list[TaggedEntity]] = []
    for group in tracked(groups, f"tagging, groups of {_GROUP} documents", total=len(groups)):
        texts = [document.text for document in group]
        tagged += tagger.tag(texts, types, threshold=settings.threshold, nested=settings.nested, link=link)
    return tagged


def _compared(
    documents: Sequence[Document], found: Sequence[Sequence[TaggedEntity]], types: Collection[str]
) -> list[Compared]:
    return [compare(document, entities, types) for document, entities in zip(documents, found, strict=True)]


def _score(compared: Sequence[Compared], settings: EvaluateSettings, types: Collection[str]) -> Evaluation:
    gold = [document.gold for document in compared]
    if not any(gold):
        raise DataError(f"no document has a mention of {sorted(types)}; there is nothing to compare with")
    predicted = [document.predicted for document in compared]
    report = score(gold, predicted, types=types, bootstrap=settings.bootstrap, seed=settings.seed)
    return Evaluation(report, len(compared), sum(document.n_ignored for document in compared))


def _print(evaluation: Evaluation, config: EvaluateConfig, console: Console) -> None:
    name = config.checkpoint.resolve().name
    where = ", ".join(config.corpus)
    console.print(comparison_table({name: evaluation}, title=f"strict span scores, {where}"))
    console.print(f"macro F1 {100 * evaluation.report.macro_f1:.1f} over {evaluation.n_documents} documents")
    if evaluation.report.micro_interval is not None:
        low, high = (100 * bound for bound in evaluation.report.micro_interval)
        console.print(f"micro F1 {100 * evaluation.report.micro.f1:.1f} (95 % {low:.1f}-{high:.1f})")
    if evaluation.links is not None:
        console.print(evaluation.links.as_table())
        error = 100 * evaluation.links.calibration_error
        console.print(f"calibration error of link_score {error:.1f} points")
    if evaluation.n_ignored:
        console.print(f"{evaluation.n_ignored} annotated mentions are of types that were not asked for")


def _write_json(evaluation: Evaluation, config: EvaluateConfig) -> None:
    assert config.output is not None
    values = {"settings": config.model_dump(mode="json"), **evaluation.as_dict()}
    with replacing(config.output) as file:
        file.write(f"{json.dumps(values, indent=2)}\n".encode())


def comparison_table(evaluations: Mapping[str, Evaluation], *, title: str = "strict span scores, test split") -> Table:
    """P, R and F1 a type, one group of columns an evaluation, for the terminal."""
    table = Table(title=title)
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
