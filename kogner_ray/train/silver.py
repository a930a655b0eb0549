"""Distant supervision on Ray: raw text and the names of a KG -> a student that has seen no label.

silver/
    candidates/   the raw documents with every KG name in them; Parquet
    evidence.json what the raw corpus says of the names
    fold-0/ ...   students that each leave one fold of the names out
    scores.json   names as the students judge them
    silver/       documents to train on, with a copy whose mentions are exchanged for other names
    student/      the student trained on them
round-1/ ...      silver/: names and what the student before finds; student/: the one trained on these and the labels

Labels, if there are any, are learnt between the two: `silver_student` comes before them, `train_in_rounds` after them.

Each is written whole or not at all, and none is made again. Every step over documents is a Ray Data pipeline whose
actors share one index of the names; corpora may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.data.corpora import plain_errors, read_corpus
from kogner_ray.data.spans import Document, from_table, to_table
from kogner_ray.errors import DataError
from kogner_ray.silver.annotate import Annotator, NamesConfig, believed
from kogner_ray.silver.evidence import Evidence, gather
from kogner_ray.silver.exchange import exchanged
from kogner_ray.silver.names import NameFinder
from kogner_ray.silver.scores import NameScores, candidates_of, held_out, judged, self_labelled
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint
from kogner_ray.tagger import Tagger
from kogner_ray.train.course import Course
from kogner_ray.train.pipeline import StageReport, made, mapped, names_of, passes, raw_text
from kogner_ray.train.run_folder import write_text
from kogner_ray.train.settings import TrainConfig
from kogner_ray.train.start import Start


class SilverStage(Config):
    """Distant supervision before, or instead of, labels.

    Attributes:
        raw: files, folders or globs of raw text in any corpus format; their annotations are not looked at.
        format: of the files; None guesses it from each.
        names: nodes.parquet, or a folder with one, whose names are looked for; None takes the entity table's.
        filter: which names the raw text lets one believe.
        folds: parts that the names are dealt into for students to judge names that they never saw marked; 0 leaves the
            names as `filter` judges them.
        fold_epochs: passes of each of these students over the raw text.
        min_score: mean probability under which a name is no mention.
        sure_score: mean probability from which a name that `filter` doubts is one; between the two it is `UNKNOWN`.
        exchange: share of mentions exchanged for other names of their type in a copy of each document; 0 makes no copy.
        epochs: passes over the silver documents and their copies.
        rounds: times that the student, once it has learnt the labels where there are any, labels the raw text itself
            and is trained on that and the labels together.
        round_epochs: passes over what a round labels.
        round_min_score: probability from which what a student finds in a round is `UNKNOWN`.
        round_sure_score: probability from which it is a mention.
        round_weights: what a student finds in a round, and is no name, is a mention from `round_min_score` on, and
            counts in L_lang by its probability.
        label_copies: times that each labelled document is among what a round trains on.
        limit: use only the first so many raw documents.
    """

    raw: tuple[str, ...] = ()
    format: str | None = None
    names: Path | None = None
    filter: NamesConfig = NamesConfig()
    folds: int = Field(2, ge=0)
    fold_epochs: int = Field(1, gt=0)
    min_score: float = Field(0.03, ge=0, lt=1)
    sure_score: float = Field(0.3, ge=0, le=1)
    exchange: float = Field(0.7, ge=0, le=1)
    epochs: int = Field(1, gt=0)
    rounds: int = Field(1, ge=0)
    round_epochs: int = Field(1, gt=0)
    round_min_score: float = Field(0.1, gt=0, lt=1)
    round_sure_score: float = Field(0.5, gt=0, lt=1)
    round_weights: bool = False
    label_copies: int = Field(4, gt=0)
    limit: int | None = Field(None, gt=0)

    @property
    def passes(self) -> int:
        """Times that the whole stage trains on as many examples as the raw corpus has."""
        judging = self.folds * self.fold_epochs if self.folds > 1 else 0
        return judging + (2 if self.exchange else 1) * (self.epochs + self.rounds * self.round_epochs)

    @property
    def label_passes(self) -> int:
        """Times that the rounds train on the labels."""
        return self.rounds * self.round_epochs * self.label_copies


@plain_errors()
def silver_student(
    stage: SilverStage, begin: Start, course: Course, train: TrainConfig, folder: Path, *, judge: Start | None = None
) -> StageReport:
    """Train a student on raw text alone, going on with what `folder` holds.

    Args:
        stage: the settings.
        begin: what students start from.
        course: what trainings share.
        train: rates and batch size; the epochs are the stage's.
        folder: of the stage.
        judge: what the students that judge names start from, who must not have been taught them; None takes `begin`.

    Raises:
        ConfigError: no raw text, or names, is given, or the KG has no type like one that is wanted.
        DataError: a file is malformed, the raw corpus is empty or holds no name of the KG.
    """
    types = tuple(course.types)
    finder = _finder(stage, course)
    shared = ray.put(finder)
    evidence = _evidence(stage, shared, folder)
    if not evidence.n_pages:
        raise DataError("silver.raw: the raw corpus holds no document")
    if not evidence.mentions:
        raise DataError(f"silver.raw: the raw corpus holds no name of the KG; wanted: {', '.join(types)}")
    candidates = made(_raw(stage), folder / "candidates", partial(_Annotating, shared, evidence, stage.filter))
    scores = _judged_by_students(stage, judge or begin, course, train, candidates, folder)
    judging = partial(_Judging, scores, stage, _pools(finder), train.seed)
    silver = made(candidates, folder / "silver", judging)
    student, census = course.train(begin, silver, passes(train, stage.epochs), folder / "student")
    return StageReport(student, candidates.count(), census)


@plain_errors()
def train_in_rounds(
    stage: SilverStage, labels: ray.data.Dataset | None, taught: Start, course: Course, train: TrainConfig, folder: Path
) -> Checkpoint:
    """Train a student on what it finds in the raw text, and on the labels beside it, `stage.rounds` times.

    Args:
        stage: the settings.
        labels: labelled documents; the raw text may have copies of them, which are left out. None trains without.
        taught: holds the student to go on from, the one in `student/`, or in `silver/student/` without labels.
        course: what trainings share.
        train: rates and batch size; the epochs are the stage's.
        folder: of the run, with the finished stage in `silver/`; each round is a folder of its own in it.

    Returns:
        The last checkpoint.
    """
    student, before = taught.checkpoint, folder / ("student" if labels is not None else "silver/student")
    assert student is not None
    if not stage.rounds:
        return student
    finder = _finder(stage, course)
    pools, scores = _pools(finder), _scores(stage, folder / "silver")
    candidates = read_corpus([str(folder / "silver" / "candidates")], "parquet")
    rows = [] if labels is None else labels.select_columns(["text"]).iter_rows()
    known = frozenset(row["text"] for row in rows)
    for number in range(1, stage.rounds + 1):
        place = folder / f"round-{number}"
        labelling = partial(_SelfLabelling, before / "best", scores, stage, pools, train.seed + number, known)
        documents = made(candidates, place / "silver", labelling)
        if labels is not None:
            documents = documents.union(*[labels] * stage.label_copies)
        begin, before = Start(taught.config, student, same_teacher=True), place / "student"
        student, _ = course.train(begin, documents, passes(train, stage.round_epochs), before)
    return student


def _finder(stage: SilverStage, course: Course) -> NameFinder:
    names = names_of(stage.names, course, "silver")
    return NameFinder(names, tuple(course.types), linker=course.linker, max_width=stage.filter.max_width)


def _pools(finder: NameFinder) -> ray.ObjectRef:
    """Names by type that mentions are exchanged for; not those turned round, such as "anemia, aplastic"."""
    return ray.put({type_: [name for name in finder.names_of(type_) if "," not in name] for type_ in finder.types})


def _raw(stage: SilverStage) -> ray.data.Dataset:
    documents = raw_text(stage.raw, stage.format, "silver")
    return documents if stage.limit is None else documents.limit(stage.limit).materialize()


def _evidence(stage: SilverStage, finder: ray.ObjectRef, folder: Path) -> Evidence:
    path = folder / "evidence.json"
    if not path.is_file():
        parts = mapped(_raw(stage), partial(_Gathering, finder))
        total = sum((Evidence.of(json.loads(row["part"])) for row in parts.iter_rows()), Evidence())
        write_text(json.dumps(total.as_dict()), path)
    return Evidence.of(json.loads(path.read_text(encoding="utf-8")))


def _judged_by_students(
    stage: SilverStage, begin: Start, course: Course, train: TrainConfig, candidates: ray.data.Dataset, folder: Path
) -> NameScores | None:
    if stage.folds < 2:
        return None
    path = folder / "scores.json"
    if not path.is_file():
        scores = NameScores()
        for fold in range(stage.folds):
            others = mapped(candidates, partial(_HoldingOut, fold, stage.folds))
            place = folder / f"fold-{fold}"
            course.train(begin, others, passes(train, stage.fold_epochs), place)
            rows = mapped(candidates, partial(_Scoring, place / "best", fold, stage.folds, stage.min_score))
            scores = NameScores.of([*scores.rows(), *rows.iter_rows()])
        write_text(json.dumps(scores.rows()), path)
    return _scores(stage, folder)


def _scores(stage: SilverStage, folder: Path) -> NameScores | None:
    """What the students of a finished stage think of the names; None where none was asked."""
    if stage.folds < 2:
        return None
    return NameScores.of(json.loads((folder / "scores.json").read_text(encoding="utf-8")))


class _Gathering:
    def __init__(self, finder: ray.ObjectRef) -> None:
        self._finder: NameFinder = ray.get(finder)

    def __call__(self, table: pa.Table) -> pa.Table:
        return pa.table({"part": [json.dumps(gather(list(from_table(table)), self._finder).as_dict())]})


class _Annotating:
    def __init__(self, finder: ray.ObjectRef, evidence: Evidence, config: NamesConfig) -> None:
        self._annotator = Annotator(ray.get(finder), evidence, config)

    def __call__(self, table: pa.Table) -> pa.Table:
        return to_table(self._annotator.annotate(document) for document in from_table(table))


class _HoldingOut:
    def __init__(self, fold: int, folds: int) -> None:
        self._fold, self._folds = fold, folds

    def __call__(self, table: pa.Table) -> pa.Table:
        return to_table(held_out(document, self._fold, self._folds) for document in from_table(table))


class _Scoring:
    def __init__(self, student: Path, fold: int, folds: int, least: float) -> None:
        self._tagger = Tagger(read_checkpoint(student))
        self._fold, self._folds, self._least = fold, folds, max(least / 2, 1e-3)

    def __call__(self, table: pa.Table) -> pa.Table:
        mine = [candidates_of(document, self._fold, self._folds) for document in from_table(table)]
        scores = NameScores()
        for document, found in zip(mine, _found(self._tagger, mine, self._least), strict=True):
            scores.add(document, found)
        return pa.Table.from_pylist(scores.rows(), _SCORES)


_SCORES = pa.schema([("type", pa.string()), ("name", pa.string()), ("sum", pa.float64()), ("count", pa.int64())])


class _Judging:
    def __init__(self, scores: NameScores | None, stage: SilverStage, pools: ray.ObjectRef, seed: int) -> None:
        self._scores, self._stage, self._seed = scores, stage, seed
        self._pools: Mapping[str, Sequence[str]] = ray.get(pools)

    def __call__(self, table: pa.Table) -> pa.Table:
        documents = [_judged(document, self._scores, self._stage) for document in from_table(table)]
        return to_table(_with_copies(documents, self._stage, self._pools, self._seed))


class _SelfLabelling:
    def __init__(
        self,
        student: Path,
        scores: NameScores | None,
        stage: SilverStage,
        pools: ray.ObjectRef,
        seed: int,
        without: Collection[str],
    ) -> None:
        self._tagger = Tagger(read_checkpoint(student))
        self._scores, self._stage, self._seed, self._without = scores, stage, seed, without
        self._pools: Mapping[str, Sequence[str]] = ray.get(pools)

    def __call__(self, table: pa.Table) -> pa.Table:
        stage = self._stage
        documents = [document for document in from_table(table) if document.text not in self._without]
        least = min(stage.min_score, stage.round_min_score)
        labelled = [
            self_labelled(
                _judged(document, self._scores, stage),
                found,
                doubt=stage.min_score,
                least=stage.round_min_score,
                sure=stage.round_sure_score,
                weighted=stage.round_weights,
            )
            for document, found in zip(documents, _found(self._tagger, documents, least), strict=True)
        ]
        return to_table(_with_copies(labelled, stage, self._pools, self._seed))


def _judged(document: Document, scores: NameScores | None, stage: SilverStage) -> Document:
    if scores is None:
        return believed(document)
    return judged(document, scores, least=stage.min_score, sure=stage.sure_score)


def _found(tagger: Tagger, documents: Sequence[Document], threshold: float) -> list[Any]:
    texts = [document.text for document in documents]
    return tagger.tag(texts, threshold=threshold, nested=True, multi_label=True, link=False) if texts else []


def _with_copies(
    documents: Sequence[Document], stage: SilverStage, pools: Mapping[str, Sequence[str]], seed: int
) -> list[Document]:
    if not stage.exchange:
        return list(documents)
    return [*documents, *(exchanged(document, pools, share=stage.exchange, seed=seed) for document in documents)]
