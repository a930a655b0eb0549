"""Name distillation on Ray: the names of a KG, typed and drawn to H, before any corpus.

names/
    carriers.json   what stands around names in raw text, where there is any
    documents/      names alone and in carriers; Parquet
    student/        the student trained on them

Each is written whole or not at all, and none is made again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray
import ray.data
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.data.corpora import plain_errors
from kogner_ray.data.spans import from_table, to_table
from kogner_ray.errors import ConfigError
from kogner_ray.silver.annotate import Annotator, NamesConfig
from kogner_ray.silver.carriers import FRAMES, Carrier, NamePool, carriers_in
from kogner_ray.silver.evidence import gather
from kogner_ray.silver.names import NameFinder
from kogner_ray.train.course import Course
from kogner_ray.train.pipeline import StageReport, made, mapped, names_of, passes, raw_text
from kogner_ray.train.run_folder import write_text
from kogner_ray.train.settings import TrainConfig
from kogner_ray.train.start import Start

_MOST_CARRIERS = 20_000
_UNCONTESTED = NamesConfig(contested=False)


class NamesStage(Config):
    """Names of a KG to learn before any corpus.

    Attributes:
        names: nodes.parquet, or a folder with one; None takes the entity table's.
        documents: short texts to make.
        bare: share of them that are a name alone.
        others: share of slots for any name that a name of no wanted type takes: no mention.
        frames: carriers, with `{}` for each name.
        raw: files, folders or globs of raw text: what stands around names there is a carrier, too, for names of the
            same types; names that the text speaks against, or that have several types, spoil one.
        format: of these files; None guesses it from each.
        words: of raw text on each side of a name.
        max_width: words of the longest name.
        epochs: passes over the documents.
    """

    names: Path | None = None
    documents: int = Field(20_000, gt=0)
    bare: float = Field(0.3, ge=0, le=1)
    others: float = Field(0.2, ge=0, le=1)
    frames: tuple[str, ...] = FRAMES
    raw: tuple[str, ...] = ()
    format: str | None = None
    words: int = Field(8, ge=0)
    max_width: int = Field(12, gt=0)
    epochs: int = Field(1, gt=0)

    @property
    def passes(self) -> int:
        """Times that the stage trains on as many examples as there are documents."""
        return self.epochs


@plain_errors()
def names_student(stage: NamesStage, begin: Start, course: Course, train: TrainConfig, folder: Path) -> StageReport:
    """Train a student on names, going on with what `folder` holds.

    Args:
        stage: the settings.
        begin: what it starts from.
        course: what trainings share.
        train: rates and batch size; the epochs are the stage's.
        folder: of the stage.

    Raises:
        ConfigError: no names are given, a frame has no slot, or the KG has no type like one that is wanted.
        DataError: a file is malformed.
    """
    if bad := [frame for frame in stage.frames if "{}" not in frame]:
        raise ConfigError(f"names.frames: expected {{}} where a name stands, got {bad[0]!r}")
    nodes = names_of(stage.names, course, "names")
    finder = NameFinder(nodes, tuple(course.types), linker=course.linker, max_width=stage.max_width)
    pool = ray.put(NamePool({type_: finder.names_of(type_) for type_ in finder.types}, finder.other_names(nodes)))
    carriers = ray.put([*map(Carrier.of_frame, stage.frames), *_from_raw_text(stage, finder, folder, train.seed)])
    numbers = ray.data.range(stage.documents)
    documents = made(numbers, folder / "documents", partial(_Filling, pool, carriers, stage, train.seed))
    student, census = course.train(begin, documents, passes(train, stage.epochs), folder / "student")
    return StageReport(student, stage.documents, census)


def _from_raw_text(stage: NamesStage, finder: NameFinder, folder: Path, seed: int) -> list[Carrier]:
    if not stage.raw:
        return []
    path = folder / "carriers.json"
    if not path.is_file():
        texts = raw_text(stage.raw, stage.format, "names")
        rows = sorted(row["carrier"] for row in mapped(texts, partial(_Cutting, ray.put(finder), stage)).iter_rows())
        chosen = random.Random(seed).sample(rows, min(len(rows), _MOST_CARRIERS))
        write_text(json.dumps([json.loads(row) for row in chosen]), path)
    return [Carrier(tuple(pieces), tuple(types)) for pieces, types in json.loads(path.read_text(encoding="utf-8"))]


class _Cutting:
    def __init__(self, finder: ray.ObjectRef, stage: NamesStage) -> None:
        self._finder, self._stage = ray.get(finder), stage

    def __call__(self, table: pa.Table) -> pa.Table:
        documents = list(from_table(table))
        annotator = Annotator(self._finder, gather(documents, self._finder), _UNCONTESTED)
        found = [c for d in documents for c in carriers_in(annotator.annotate(d), words=self._stage.words)]
        return pa.table({"carrier": pa.array([json.dumps([c.pieces, c.types]) for c in found], pa.string())})


class _Filling:
    def __init__(self, pool: ray.ObjectRef, carriers: ray.ObjectRef, stage: NamesStage, seed: int) -> None:
        self._stage, self._seed = stage, seed
        self._pool: NamePool = ray.get(pool)
        self._carriers: Sequence[Carrier] = ray.get(carriers)

    def __call__(self, table: pa.Table) -> pa.Table:
        stage = self._stage
        return to_table(
            self._pool.document(number, self._carriers, bare=stage.bare, others=stage.others, seed=self._seed)
            for number in table["id"].to_pylist()
        )
