"""One training of a student: from a start, on documents, to its best checkpoint. A run holds one or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.data

from kogner_ray.data.spans import Document, to_table
from kogner_ray.kg.embeddings import EntityTable
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from kogner_ray.train.feed import feed
from kogner_ray.train.figures import draw_curves
from kogner_ray.train.finer import NO_FINER, FinerTypes
from kogner_ray.train.labels import LabelTexts
from kogner_ray.train.session import Workers, fit
from kogner_ray.train.settings import LossConfig, TrainConfig
from kogner_ray.train.start import Start, starting_point
from kogner_ray.train.student import student_loop


@dataclass(frozen=True)
class Course:
    """What all trainings of a run share.

    Attributes:
        types: entity types with their label texts.
        dev: documents to choose the best epoch by; empty takes the last.
        table: H, or None without a KG.
        linker: how mentions are linked to it.
        modalities: parts of H that the student is drawn to.
        kg_head_width: inner width of g.
        loss: weights of the losses.
        workers: Ray Train workers.
        seed: of new heads.
        labels: texts that label texts are drawn from; None takes each type's own in every step.
        finer: types beside the wanted ones.
    """

    types: Mapping[str, str]
    dev: Sequence[Document]
    table: EntityTable | None
    linker: LinkerConfig
    modalities: tuple[str, ...]
    kg_head_width: int
    loss: LossConfig
    workers: Workers
    seed: int
    labels: LabelTexts | None = None
    finer: FinerTypes = NO_FINER

    def train(
        self, begin: Start, documents: ray.data.Dataset, config: TrainConfig, folder: Path
    ) -> tuple[Checkpoint, Mapping[str, int]]:
        """Train in `folder`, from its newest checkpoint on.

        Returns:
            The best checkpoint on `dev`, without the entity table, and what became of the annotations.

        Raises:
            DataError: a corpus file is malformed, or `documents` hold no words.
            ConfigError: the encoder cannot take `max_tokens`, or `table` has none of `modalities`.
            CheckpointError: `folder` cannot be written.
        """
        start = folder / "start"
        if not (start / "student.json").is_file():
            untrained = starting_point(
                begin,
                self.types,
                self.table,
                modalities=self.modalities,
                kg_head_width=self.kg_head_width,
                seed=self.seed,
            )
            write_checkpoint(untrained, start)
        examples, census = feed(documents, start=start, linker=self.linker, finer=self.finer)
        job: dict[str, Any] = {"start": str(start.absolute())}
        job |= {"train": config.model_dump(), "loss": self.loss.model_dump()}
        if self.labels is not None:
            job["labels"] = self.labels.with_finer(self.finer).model_dump()
        datasets = {"train": examples, "dev": ray.data.from_arrow(to_table(self.dev))}
        fit(student_loop, job, folder=folder, workers=self.workers, datasets=datasets)
        draw_curves(folder / "metrics.jsonl", folder)
        return read_checkpoint(folder / "best"), census
