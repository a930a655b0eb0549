"""The student's training loop: the same on every rank.

Every rank plans the same global batches and takes its share of each; losses are divided by the batch's *global* counts,
which the plan knows, so summing the gradients over ranks gives what one rank alone would have computed.

    resume -> for each epoch: for each batch: backward on my share -> sum over ranks -> step -> evaluate -> report
    rank 0 writes; all ranks report
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.train.torch import get_device

from kogner_ray.data.metrics import Counts, count_spans
from kogner_ray.errors import CheckpointError
from kogner_ray.evaluate import compare
from kogner_ray.kg.embeddings import read_entity_table
from kogner_ray.kg.folder import whole_folder
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from kogner_ray.tagger import Tagger
from kogner_ray.train.feed import receive_documents, receive_examples
from kogner_ray.train.figures import log_events
from kogner_ray.train.labels import LabelTexts
from kogner_ray.train.learner import Learner
from kogner_ray.train.optim import set_rates
from kogner_ray.train.plan import IntArray, epoch_batches, share
from kogner_ray.train.progress import Progress
from kogner_ray.train.session import Session, stream_seed
from kogner_ray.train.settings import LossConfig, TrainConfig
from kogner_ray.train.targets import EntityTargets


@dataclass(frozen=True)
class StudentJob:
    """What a worker needs besides the datasets.

    Attributes:
        start: folder of the checkpoint to start from.
        train: settings of the training.
        loss: weights of the losses.
        labels: texts that label texts are drawn from, or None.
    """

    start: Path
    train: TrainConfig
    loss: LossConfig
    labels: LabelTexts | None = None


@dataclass
class LoopState:
    """Where the loop is, the same on every rank; written into every checkpoint."""

    epoch: int = 0
    step: int = 0
    best_f1: float = -1.0
    stale: int = 0
    running: dict[str, float] = field(default_factory=lambda: {"loss": 0.0, "lang": 0.0, "dist": 0.0, "steps": 0.0})
    history: list[dict[str, Any]] = field(default_factory=list)


def student_loop(job: Mapping[str, Any]) -> None:
    """Train the student on this worker (rank 0 writes, all ranks report)."""
    session = Session.current(job["folder"], local=job["local"])
    labels = LabelTexts(**job["labels"]) if "labels" in job else None
    settings = StudentJob(Path(job["start"]), TrainConfig(**job["train"]), LossConfig(**job["loss"]), labels)
    with tempfile.TemporaryDirectory() as scratch:
        StudentLoop(session, settings, Path(scratch)).run()


class StudentLoop:
    """One rank's run over the epochs, from the newest checkpoint on."""

    def __init__(self, session: Session, job: StudentJob, scratch: Path) -> None:
        self.session, self.config = session, job.train
        torch.manual_seed(stream_seed(job.train.seed))
        self.state = LoopState()
        with session.newest() as folder:
            model = read_checkpoint(job.start if folder is None else folder / "student")
            device = _device(session)
            entities = _targets(job.start, model, device)
            self.learner = Learner(model, job.train, job.loss, entities=entities, device=device, labels=job.labels)
            if folder is not None:
                self._restore(folder)
        self.store, self.dev = receive_examples(scratch), receive_documents("dev")
        self.n_steps = self.config.epochs * -(-len(self.store) // self.config.batch_size)

    def run(self) -> None:
        """Train what is left to train; reports at least once."""
        progress = Progress(self.session, total=self.n_steps, done=self.state.step)
        was_done = self.state.epoch >= self.config.epochs or self._stale()
        while self.state.epoch < self.config.epochs and not self._stale():
            for batch in self._batches_left():
                self._step(batch)
                progress.advance(self._running())
                if self._checkpoint_due():
                    self._report({"loss": self._running()["loss"]})
            self._end_epoch(progress)
        progress.close()
        if was_done:
            self._save()  # nothing was left to do, but a run must report its checkpoint

    def _batches_left(self) -> Iterable[IntArray]:
        batches = epoch_batches(
            self.store.n_tokens, batch_size=self.config.batch_size, seed=self.config.seed, epoch=self.state.epoch
        )
        return batches[self.state.step - self.state.epoch * len(batches) :]

    def _step(self, batch: IntArray) -> None:
        self.learner.train_mode()
        set_rates(self.learner.optimiser, self.config.optim, step=self.state.step, n_steps=self.n_steps)
        # Ranks draw different dropout, and a resumed run draws what it would have drawn.
        torch.manual_seed(stream_seed(self.config.seed, self.state.step, self.session.rank))
        self.learner.draw_labels(stream_seed(self.config.seed, self.state.step))  # the same on every rank
        spans = int(self.store.n_spans(self.learner.student.config.max_width)[batch].sum())
        links = int(self.store.n_links[batch].sum())
        totals = np.zeros(3)
        shares = share(
            batch, rank=self.session.rank, world_size=self.session.world_size, n_micro=self.config.accumulate
        )
        for rows in shares:
            if len(rows):
                totals += self.learner.backward([self.store[int(row)] for row in rows], spans=spans, links=links)
        self.learner.step(self.session)
        self.state.step += 1
        for name, value in zip(("loss", "lang", "dist"), self.session.sum(*totals), strict=True):
            self.state.running[name] += value
        self.state.running["steps"] += 1

    def _end_epoch(self, progress: Progress) -> None:
        metrics: dict[str, Any] = self._running()
        self.state.epoch += 1
        self.state.running = LoopState().running
        text = f"epoch {self.state.epoch}: loss {metrics['loss']:.4f}"
        if self.state.epoch % self.config.evaluate_every == 0 or self.state.epoch == self.config.epochs:
            scores = self._evaluate()
            self._keep_if_better(scores)
            if scores.n_gold:
                metrics |= {"dev_f1": scores.f1, "dev_precision": scores.precision, "dev_recall": scores.recall}
                text += f", dev F1 {100 * scores.f1:.2f}"
        if self.state.epoch == self.config.epochs or self._stale():
            metrics["done"] = True
        self._report(metrics)
        progress.note(text)

    def _keep_if_better(self, scores: Counts) -> None:
        """The best so far on dev; without dev annotation, the newest."""
        better = scores.f1 > self.state.best_f1 or not scores.n_gold
        self.state.stale = 0 if better else self.state.stale + 1
        self.state.best_f1 = max(scores.f1, self.state.best_f1)
        if better and self.session.rank == 0:
            write_checkpoint(self.learner.snapshot(), self.session.folder / "best")

    def _evaluate(self) -> Counts:
        """Strict dev scores; each rank tags its share."""
        mine = self.dev[self.session.rank :: self.session.world_size]
        tagged = Tagger(self.learner.model, precision=self.learner.precision).tag(
            [document.text for document in mine],
            threshold=self.config.threshold,
            nested=self.config.nested,
            link=False,
        )
        counts = Counts()
        for document, entities in zip(mine, tagged, strict=True):
            compared = compare(document, entities, self.learner.model.types)
            counts = sum(count_spans(compared.gold, compared.predicted).values(), counts)
        totals = self.session.sum(counts.n_correct, counts.n_predicted, counts.n_gold)
        return Counts(*(int(total) for total in totals))

    def _report(self, metrics: Mapping[str, Any]) -> None:
        self.state.history.append({"epoch": self.state.epoch, "step": self.state.step, **metrics})
        if self.config.tensorboard and self.session.rank == 0:
            log_events(self.state.history[-1], self.session.folder / "tensorboard")
        self._save()

    def _save(self) -> None:
        self.session.report(self.state.history, number=self.state.step, write=self._write)

    def _write(self, folder: Path) -> None:
        try:
            with whole_folder(folder) as partial:
                torch.save(
                    {"optimiser": self.learner.optimiser.state_dict(), "state": vars(self.state)},
                    partial / "trainer.pt",
                )
                write_checkpoint(self.learner.snapshot(), partial / "student")
        except RuntimeError as error:  # how torch.save reports a full disk
            raise CheckpointError(f"{folder}: the checkpoint could not be written: {error}") from error

    def _restore(self, folder: Path) -> None:
        stored = torch.load(folder / "trainer.pt", weights_only=True, map_location=self.learner.device)
        self.learner.optimiser.load_state_dict(stored["optimiser"])
        self.state = LoopState(**stored["state"])

    def _running(self) -> dict[str, float]:
        """Mean losses of the epoch so far, over all ranks."""
        steps = max(1, self.state.running["steps"])
        return {name: self.state.running[name] / steps for name in ("loss", "lang", "dist")}

    def _checkpoint_due(self) -> bool:
        every = self.config.checkpoint_every
        return every is not None and self.state.step % every == 0

    def _stale(self) -> bool:
        return self.config.patience is not None and self.state.stale >= self.config.patience


def _device(session: Session) -> torch.device:
    return torch.device("cpu") if session.local and not torch.cuda.is_available() else get_device()


def _targets(start: Path, model: Checkpoint, device: torch.device) -> EntityTargets | None:
    if model.kg_head is None:
        return None
    return EntityTargets(read_entity_table(start / "entities"), model.modalities, device=device)
