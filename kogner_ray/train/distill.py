"""Distillation, whole: corpus + KG -> student -> checkpoint and scores, as one resumable run folder.

config.yaml      what was asked for
teacher/         the KG as tables, the teacher's runs, the entity table H
student/         the training run: start/, checkpoint_*/, best/, metrics.jsonl, loss.png, f1.png
names/           with name distillation, its stage: see `kogner_ray.train.names`
silver/          with distant supervision, its stage: see `kogner_ray.train.silver`
round-1/ ...     its rounds of self-training
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

from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.errors import ConfigError
from kogner_ray.evaluate import EvaluateSettings, Evaluation, evaluate
from kogner_ray.kg.coverage import CoverageReport, coverage
from kogner_ray.kg.embeddings import EntityTable, whitened
from kogner_ray.kg.linking import Linker
from kogner_ray.student.checkpoint import Checkpoint, write_checkpoint
from kogner_ray.student.model import StudentConfig
from kogner_ray.student.teaching import teach_links
from kogner_ray.tagger import Tagger
from kogner_ray.train.course import Course
from kogner_ray.train.labelled import Corpus, read_labels
from kogner_ray.train.labels import LabelKnowledge, finer_types, label_texts
from kogner_ray.train.names import NamesStage, names_student
from kogner_ray.train.pipeline import StageReport
from kogner_ray.train.provenance import provenance
from kogner_ray.train.run_folder import claim, write_text
from kogner_ray.train.session import Workers
from kogner_ray.train.settings import LossConfig, TrainConfig
from kogner_ray.train.silver import SilverStage, silver_student, train_in_rounds
from kogner_ray.train.sources import CorpusConfig, KgConfig, entity_table, split_files
from kogner_ray.train.start import Start, find_start

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
        labels: label texts from the KG to draw from in each step, and finer types in silver training; None takes each
            type's own text.
        names: name distillation before all else; None leaves it out.
        silver: distant supervision before the labels; without labels (no training files, and `corpus.types` named) its
            student, or that of `names`, is the result. None trains on labels alone.
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
    labels: LabelKnowledge | None = None
    names: NamesStage | None = None
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
    corpus = read_labels(config.corpus, need_train=_needs_labels(config))
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
    course = _with_label_texts(_course(config, corpus, table), config)
    untaught = begin
    begin, taught = _before_labels(config, untaught, course)
    baseline = None
    if config.compare and corpus.train is not None:
        plain, train = _course(config, corpus, None), _at_equal_steps(config, corpus, taught)
        baseline = _test(plain.train(untaught, corpus.train, train, config.output / "no_kg")[0], corpus, config)
    if corpus.train is not None:
        finished, census = course.train(begin, corpus.train, config.train, config.output / "student")
    else:
        finished, census = taught[-1].student, taught[-1].census
    if config.silver is not None:
        before = replace(begin, checkpoint=finished)
        finished = train_in_rounds(config.silver, corpus.train, before, course, config.train, config.output)
    test = _test(finished, corpus, config)
    files = split_files(config.corpus, need_train=_needs_labels(config))
    origin = provenance(config, corpus=files, table=table) | {"leaks": corpus.leaks}
    if begin.origin is not None:
        origin["started_from"] = dict(begin.origin)
    origin["test"] = None if test is None else test.as_dict()
    finished = replace(finished, entities=table, provenance=origin)
    checkpoint = write_checkpoint(_with_links(finished, corpus), config.output / "checkpoint")
    report = DistillReport(checkpoint, test, baseline, census, coverage_report)
    _write_report(report, origin, config.output)
    return report


def _with_links(student: Checkpoint, corpus: Corpus) -> Checkpoint:
    if student.entities is None or student.kg_head is None:
        return student
    links = teach_links(student, corpus.splits["train"], corpus.splits.get("dev", []))
    return replace(student, links=links)


def _course(config: DistillConfig, corpus: Corpus, table: EntityTable | None) -> Course:
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


def _before_labels(config: DistillConfig, begin: Start, course: Course) -> tuple[Start, list[StageReport]]:
    """Where the labels go on from, and what each stage before them gave."""
    taught, untaught = [], begin
    if config.names is not None:
        taught.append(names_student(config.names, begin, course, config.train, config.output / "names"))
        begin = replace(begin, checkpoint=taught[-1].student, same_teacher=True)
    if config.silver is not None:
        finer, folder = _with_finer_types(course, config), config.output / "silver"
        taught.append(silver_student(config.silver, begin, finer, config.train, folder, judge=untaught))
        begin = replace(begin, checkpoint=taught[-1].student, same_teacher=True)
    return begin, taught


def _with_label_texts(course: Course, config: DistillConfig) -> Course:
    if config.labels is None:
        return course
    taxonomy = config.labels.taxonomy(config.output / "teacher" / "kg")
    return replace(course, labels=label_texts(config.labels, course.types, taxonomy, course.linker))


def _with_finer_types(course: Course, config: DistillConfig) -> Course:
    if config.labels is None or not config.labels.finer:
        return course
    if course.table is None:
        raise ConfigError("labels.finer: expected a kg that mentions link to")
    taxonomy = config.labels.taxonomy(config.output / "teacher" / "kg")
    return replace(course, finer=finer_types(config.labels, course.types, taxonomy, course.linker, course.table))


def _needs_labels(config: DistillConfig) -> bool:
    return config.silver is None and config.names is None


def _at_equal_steps(config: DistillConfig, corpus: Corpus, taught: Sequence[StageReport]) -> TrainConfig:
    """Settings under which labels alone are trained on for as many steps as all stages and labels together."""
    if not taught:
        return config.train
    stages = [stage for stage in (config.names, config.silver) if stage is not None]
    examples = sum(stage.passes * report.n_documents for stage, report in zip(stages, taught, strict=True))
    more = math.ceil(examples / len(corpus.splits["train"]))
    more += 0 if config.silver is None else config.silver.label_passes
    # as often evaluated as it would be, for each evaluation is another chance to be the best
    every = config.train.evaluate_every + math.ceil(more * config.train.evaluate_every / config.train.epochs)
    return config.train.model_copy(update={"epochs": config.train.epochs + more, "evaluate_every": every})


def _test(student: Checkpoint, corpus: Corpus, config: DistillConfig) -> Evaluation | None:
    if "test" not in corpus.splits:
        return None
    settings = EvaluateSettings(
        threshold=config.train.threshold, nested=config.train.nested, bootstrap=config.bootstrap, seed=config.train.seed
    )
    return evaluate(Tagger(student), corpus.splits["test"], settings)


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
