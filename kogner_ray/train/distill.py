"""Distillation, whole: corpus + KG -> student -> checkpoint and scores, as one resumable run folder.

config.yaml      what was asked for
teacher/         the KG as tables, the teacher's runs, the entity table H
student/         the training run: start/, checkpoint_*/, best/, metrics.jsonl, loss.png, f1.png
silver/          with distant supervision, its stage: see `kogner_ray.train.silver`
labels-1/ ...    its rounds after the labels
no_kg/           the same student trained without the KG, when a comparison was asked for
checkpoint/      the finished student: what `Tagger.load` takes
report.json      scores, census of annotations, coverage by the KG, provenance
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import ray.data
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.data.corpora import plain_errors
from kogner_ray.data.spans import UNKNOWN, Document, from_table
from kogner_ray.data.splits import find_leaks
from kogner_ray.errors import ConfigError, DataError
from kogner_ray.evaluate import EvaluateSettings, Evaluation, evaluate
from kogner_ray.kg.coverage import CoverageReport, coverage
from kogner_ray.kg.embeddings import EntityTable, whitened
from kogner_ray.kg.linking import Linker
from kogner_ray.student.checkpoint import Checkpoint, write_checkpoint
from kogner_ray.student.model import StudentConfig
from kogner_ray.student.teaching import teach_links
from kogner_ray.tagger import Tagger
from kogner_ray.train.course import Course
from kogner_ray.train.provenance import provenance
from kogner_ray.train.run_folder import claim, write_text
from kogner_ray.train.session import Workers
from kogner_ray.train.settings import LossConfig, TrainConfig
from kogner_ray.train.silver import SilverReport, SilverStage, go_on_from_labels, silver_student
from kogner_ray.train.sources import CorpusConfig, KgConfig, entity_table, read_splits, split_files
from kogner_ray.train.start import find_start

_LOG = logging.getLogger(__name__)


class DistillConfig(Config):
    """A distillation run.

    Attributes:
        output: run folder; running again with the same folder goes on where it stopped.
        corpus: labelled text.
        kg: the knowledge graph and its teacher.
        student: architecture; with `start_from`, that of the checkpoint, of which only dropout and windows can change.
        start_from: checkpoint to go on from, ours or GLiNER's: a folder or an id on the hub (`org/name@revision`). Its
            types keep their label texts unless `corpus.types` names others; None starts with new heads.
        modalities: parts of H that the student is drawn to.
        whiten: decorrelate the columns of each part of H first; the checkpoint then holds it so.
        kg_head_width: inner width of g.
        loss: weights of L_lang and L_dist.
        train: epochs, rates, precision, seed.
        silver: distant supervision before the labels; without labels (no training files, and `corpus.types` named) its
            student is the result. None trains on labels alone.
        compare: also train the same student without the KG, for as many steps in all, and set its scores beside.
        bootstrap: resamples for the confidence interval of test F1; 0 leaves it out.
        num_workers: Ray Train workers; 0 trains in this process.
        cpus_per_worker: logical CPUs of each.
        use_gpu: one GPU for each worker.
        max_failures: restarts after a worker died.
    """

    output: Path = Path("runs/embedded")
    corpus: CorpusConfig = CorpusConfig(name="embedded")
    kg: KgConfig = KgConfig(source="embedded")
    student: StudentConfig = StudentConfig()
    start_from: str | None = None
    modalities: tuple[Literal["text", "graph", "logic"], ...] = ("text", "graph", "logic")
    whiten: bool = False
    kg_head_width: int = Field(768, gt=0)
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    silver: SilverStage | None = None
    compare: bool = False
    bootstrap: int = Field(1000, ge=0)
    num_workers: int = Field(0, ge=0)
    cpus_per_worker: float = Field(1, gt=0)
    use_gpu: bool = False
    max_failures: int = Field(3, ge=0)


@dataclass(frozen=True)
class DistillReport:
    """What a run gave.

    Attributes:
        checkpoint: folder of the finished student.
        test: its scores on the test split, or None without one.
        baseline: scores of the same student without the KG, or None.
        census: what became of the training annotations; without labels, of the silver ones.
        coverage: share of training mentions linked to the KG, or None without one.
    """

    checkpoint: Path
    test: Evaluation | None
    baseline: Evaluation | None
    census: Mapping[str, int]
    coverage: CoverageReport | None


@dataclass(frozen=True)
class _Corpus:
    train: ray.data.Dataset | None
    splits: dict[str, list[Document]]
    types: dict[str, str]
    leaks: list[str]


def distill(config: DistillConfig) -> DistillReport:
    """Train a student with the KG (and, if asked, one without), and evaluate on the test split.

    Raises:
        ConfigError: the run folder was made with other settings, the corpus names no files or has no annotation, the
            encoder cannot take `student.max_tokens`, `student` contradicts the checkpoint to start from, or there is
            nothing to train on.
        DataError: a corpus or KG file is malformed, the training split is empty, or splits share text.
        EncoderNotFound: an encoder that is not here.
        CheckpointError: the run folder cannot be written, or there is no whole checkpoint to start from.
    """
    begin = find_start(config.student, config.start_from)  # now, rather than after hours of teaching
    config = config.model_copy(update={"student": begin.config})
    corpus = _read_corpus(config)
    if config.corpus.types is None:
        corpus = replace(corpus, types=begin.label_texts(corpus.types))
    claim(config.output, config)
    table = entity_table(
        config.kg, folder=config.output / "teacher", num_workers=config.num_workers, seed=config.train.seed
    )
    if table is not None and config.whiten:
        table = whitened(table)
    coverage_report = None
    if table is not None and corpus.splits["train"]:
        linker = Linker.from_table(table.entities, config.kg.linker)
        coverage_report = coverage(corpus.splits["train"], linker)
        if not coverage_report.total.linked:
            _LOG.warning("no mention of the corpus links to the KG: training goes on with L_lang alone")
    course = _course(config, corpus, table)
    silver = None
    if config.silver is not None:
        silver = silver_student(config.silver, begin, course, config.train, config.output / "silver")
    baseline = None
    if config.compare and corpus.train is not None:
        plain, train = _course(config, corpus, None), _at_equal_steps(config, corpus, silver)
        baseline = _test(plain.train(begin, corpus.train, train, config.output / "no_kg")[0], corpus, config)
    if silver is not None:
        begin = replace(begin, checkpoint=silver.student, same_teacher=True)
    if corpus.train is not None:
        finished, census = course.train(begin, corpus.train, config.train, config.output / "student")
    else:
        assert silver is not None
        finished, census = silver.student, silver.census
    if config.silver is not None and corpus.train is not None:
        taught = replace(begin, checkpoint=finished)
        finished = go_on_from_labels(config.silver, corpus.train, taught, course, config.train, config.output)
    test = _test(finished, corpus, config)
    files = split_files(config.corpus, need_train=config.silver is None)
    origin = provenance(config, corpus=files, table=table) | {"leaks": corpus.leaks}
    if begin.origin is not None:
        origin["started_from"] = dict(begin.origin)
    origin["test"] = None if test is None else test.as_dict()
    finished = replace(finished, entities=table, provenance=origin)
    checkpoint = write_checkpoint(_with_links(finished, corpus), config.output / "checkpoint")
    report = DistillReport(checkpoint, test, baseline, census, coverage_report)
    _write_report(report, origin, config.output)
    return report


def _with_links(student: Checkpoint, corpus: _Corpus) -> Checkpoint:
    if student.entities is None or student.kg_head is None:
        return student
    links = teach_links(student, corpus.splits["train"], corpus.splits.get("dev", []))
    return replace(student, links=links)


def _course(config: DistillConfig, corpus: _Corpus, table: EntityTable | None) -> Course:
    return Course(
        types=corpus.types,
        dev=corpus.splits.get("dev", []),
        table=table,
        linker=config.kg.linker,
        modalities=config.modalities,
        kg_head_width=config.kg_head_width,
        loss=config.loss,
        workers=Workers(config.num_workers, config.cpus_per_worker, config.use_gpu, config.max_failures),
        seed=config.train.seed,
    )


def _at_equal_steps(config: DistillConfig, corpus: _Corpus, silver: SilverReport | None) -> TrainConfig:
    """Settings under which labels alone are trained on for as many steps as silver documents and labels together."""
    if config.silver is None or silver is None:
        return config.train
    more = math.ceil(config.silver.passes * silver.n_documents / len(corpus.splits["train"]))
    more += config.silver.label_passes
    # as often evaluated as it would be, for each evaluation is another chance to be the best
    every = config.train.evaluate_every + math.ceil(more * config.train.evaluate_every / config.train.epochs)
    return config.train.model_copy(update={"epochs": config.train.epochs + more, "evaluate_every": every})


@plain_errors()
def _read_corpus(config: DistillConfig) -> _Corpus:
    datasets = read_splits(config.corpus, need_train=config.silver is None)
    splits = {split: _documents(dataset) for split, dataset in datasets.items()}
    leaks = find_leaks(splits, strict=config.corpus.strict_splits)
    for leak in leaks.leaks:
        _LOG.warning("%s", leak)
    if "train" in splits and not splits["train"]:
        raise DataError("the training split holds no document")
    if "train" not in splits and not config.corpus.types:
        raise ConfigError("corpus.types: expected the types to train, for there are no labels to take them from")
    types = _types(splits.setdefault("train", []), config.corpus.types)
    for split in ("dev", "test"):
        if split in splits and not _mentions(splits[split]) & types.keys():
            _LOG.warning("the %s split has no mention of %s: it is not evaluated", split, ", ".join(types))
            del splits[split]
    return _Corpus(datasets.get("train"), splits, types, [str(leak) for leak in leaks.leaks])


def _types(documents: Sequence[Document], wanted: Mapping[str, str] | None) -> dict[str, str]:
    """Types to train with their label texts."""
    found = _mentions(documents)
    types = {name: name for name in sorted(found)} if wanted is None else dict(wanted)
    if documents and not types.keys() & found:
        expected = "an annotation" if wanted is None else f"a mention of {', '.join(types) or 'any type'}"
        raise ConfigError(f"corpus: expected {expected} in the training split, found {sorted(found) or 'none'}")
    for name in sorted(types.keys() - found) if documents else ():
        _LOG.warning("the training split has no mention of %s", name)
    return types


def _mentions(documents: Sequence[Document]) -> set[str]:
    return {entity.type for document in documents for entity in document.entities} - {UNKNOWN}


def _test(student: Checkpoint, corpus: _Corpus, config: DistillConfig) -> Evaluation | None:
    if "test" not in corpus.splits:
        return None
    settings = EvaluateSettings(
        threshold=config.train.threshold, nested=config.train.nested, bootstrap=config.bootstrap, seed=config.train.seed
    )
    return evaluate(Tagger(student), corpus.splits["test"], settings)


def _documents(dataset: ray.data.Dataset) -> list[Document]:
    tables = dataset.iter_batches(batch_format="pyarrow", batch_size=None)
    return sorted((document for table in tables for document in from_table(table)), key=lambda d: (d.id, d.text))


def _write_report(report: DistillReport, origin: Mapping[str, Any], folder: Path) -> None:
    scores = {"test": report.test, "no_kg": report.baseline}
    values = {
        "checkpoint": str(report.checkpoint),
        **{name: None if found is None else found.as_dict() for name, found in scores.items()},
        "census": dict(report.census),
        "coverage": None if report.coverage is None else report.coverage.as_dict(),
        "provenance": dict(origin),
    }
    write_text(json.dumps(values, indent=2, default=str) + "\n", folder / "report.json")
