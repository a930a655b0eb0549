"""Steps over documents on Ray Data, whose actors each make theirs once, and the folders that hold what they gave."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from kogner_ray.data.corpora import read_corpus
from kogner_ray.errors import ConfigError, DataError
from kogner_ray.kg.tables import read_columns
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.train.course import Course
from kogner_ray.train.settings import TrainConfig

_ROWS_A_BATCH = 1024
_NAME_COLUMNS = ["name", "type", "synonyms"]
Step = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class StageReport:
    """What a stage before the labels gave.

    Attributes:
        student: the last checkpoint.
        n_documents: documents that it made, or raw ones.
        census: what became of the annotations of the last training.
    """

    student: Checkpoint
    n_documents: int
    census: Mapping[str, int]


def made(documents: ray.data.Dataset, folder: Path, step: Callable[[], Step]) -> ray.data.Dataset:
    """`documents` after `step`, as they lie in `folder`; they are made only when it is not there."""
    if not folder.is_dir():
        partial_folder = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
        for number, table in enumerate(_tables(mapped(documents, step))):
            pq.write_table(table, partial_folder / f"{number:06d}.parquet", compression="zstd")
        partial_folder.rename(folder)
    return read_corpus([str(folder)], "parquet")


def mapped(rows: ray.data.Dataset, step: Callable[[], Step]) -> ray.data.Dataset:
    """`rows` after `step`, by a pool of actors."""
    most = max(1, int(ray.cluster_resources().get("CPU", 2)) // 2)
    return rows.map_batches(
        _Actor,
        fn_constructor_args=(step,),
        batch_format="pyarrow",
        batch_size=_ROWS_A_BATCH,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
        num_cpus=0.5,
    )


def raw_text(paths: Sequence[str], format: str | None, stage: str) -> ray.data.Dataset:
    """The documents of a stage's files.

    Raises:
        ConfigError: there are none.
    """
    if not paths:
        raise ConfigError(f"{stage}.raw: expected files or folders of raw text")
    try:
        return read_corpus(paths, format)
    except DataError as error:
        raise ConfigError(f"{stage}.raw: {error}") from error


def names_of(path: Path | None, course: Course, stage: str) -> pa.Table:
    """The table whose names a stage looks for: nodes.parquet, or a folder with one, or else the entity table.

    Raises:
        ConfigError: there is neither.
        DataError: the file cannot be read, or has no names.
    """
    if path is not None:
        return read_columns(path / "nodes.parquet" if path.is_dir() else path, _NAME_COLUMNS)
    if course.table is None:
        message = "expected nodes.parquet of a KG, for there is no kg whose names could be used"
        raise ConfigError(f"{stage}.names: {message}")
    return course.table.entities


def passes(train: TrainConfig, epochs: int) -> TrainConfig:
    """`train` for so many epochs, the last of which is evaluated."""
    return train.model_copy(update={"epochs": epochs, "evaluate_every": epochs, "patience": None})


def _tables(dataset: ray.data.Dataset) -> Iterable[pa.Table]:
    return (table for table in dataset.iter_batches(batch_format="pyarrow", batch_size=None) if table.num_rows)


class _Actor:
    """An actor of a pipeline: makes its step once, from what all actors share."""

    def __init__(self, make: Callable[[], Step]) -> None:
        self._step = make()

    def __call__(self, table: pa.Table) -> pa.Table:
        return self._step(table)
