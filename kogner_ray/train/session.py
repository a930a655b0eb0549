"""What a training loop needs of the run that it is part of: its rank, its last checkpoint, sums over ranks, reports.

The same loop runs in this process (`workers=0`) and on Ray Train workers. Starting a run of the same folder again goes
on from its newest checkpoint.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.data
import ray.train
import torch
import torch.distributed as dist
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    DataConfig,
    FailureConfig,
    Result,
    RunConfig,
    ScalingConfig,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer

from kogner_ray.cluster import start_ray
from kogner_ray.errors import CheckpointError, KognerError
from kogner_ray.train.snapshot import Snapshot, read_snapshot, write_snapshot

_KEPT = 2


@dataclass(frozen=True)
class Session:
    """This process's place in a run.

    Attributes:
        folder: of the run; `metrics.jsonl` and the checkpoints are there. On a cluster it is on shared storage.
        rank: of this process.
        world_size: number of processes.
        local: whether the loop runs in the caller's process.
    """

    folder: Path
    rank: int
    world_size: int
    local: bool

    @classmethod
    def current(cls, folder: str, *, local: bool) -> Session:
        """The session of the calling loop."""
        context = ray.train.get_context()
        return cls(Path(folder), context.get_world_rank(), context.get_world_size(), local)

    def resume(
        self, model: torch.nn.Module, optimiser: torch.optim.Optimizer, *, epochs: int
    ) -> list[dict[str, float]]:
        """Load the newest checkpoint of this run, if any; returns the metrics of the epochs done."""
        snapshot = self._newest()
        if snapshot is None:
            return []
        snapshot.load_model(model)
        snapshot.load_optimiser(optimiser)
        if len(snapshot.history) >= epochs:
            self._report(snapshot)  # nothing is left to do, but a run must report its checkpoint
        return snapshot.history

    def end_epoch(
        self, model: torch.nn.Module, optimiser: torch.optim.Optimizer, history: list[dict[str, float]]
    ) -> None:
        """Rank 0 writes checkpoint and metrics, all ranks report."""
        self._report(Snapshot.of(model, optimiser, history))

    def sum(self, *values: float) -> list[float]:
        """Each value summed over ranks."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def max(self, *values: float) -> list[float]:
        """Each value's maximum over ranks."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over ranks; every rank must call it equally often.

        Sparse gradients stay sparse. A rank without examples takes part with zeros.
        """
        if self.world_size == 1:
            return
        dense = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad.is_sparse:
                dist.all_reduce(parameter.grad)
            else:
                dense.append(parameter.grad)
        flat = torch.cat([gradient.flatten() for gradient in dense])
        dist.all_reduce(flat)
        for gradient, summed in zip(dense, flat.split([gradient.numel() for gradient in dense]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def sum_tensor(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by its sum over ranks."""
        if self.world_size > 1:
            dist.all_reduce(tensor)

    @contextmanager
    def newest(self) -> Iterator[Path | None]:
        """The folder of this run's newest checkpoint, or None."""
        if self.local:
            yield max(self.folder.glob("checkpoint_*"), default=None)
            return
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as folder:
            yield Path(folder)

    def report(self, history: Sequence[Mapping[str, Any]], *, number: int, write: Callable[[Path], None]) -> None:
        """Rank 0 writes a checkpoint through `write` and the metrics so far; all ranks report the last of them."""
        metrics = dict(history[-1]) if history else {}
        if self.rank:
            ray.train.report(metrics)
            return
        self._write_metrics(history)
        if self.local:
            target = self.folder / f"checkpoint_{number:06d}"
            write(target)
            for old in sorted(self.folder.glob("checkpoint_*"))[:-_KEPT]:
                shutil.rmtree(old)
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(target))
            return
        with tempfile.TemporaryDirectory() as temporary:
            write(Path(temporary) / "checkpoint")
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(Path(temporary) / "checkpoint"))

    def _newest(self) -> Snapshot | None:
        with self.newest() as folder:
            return None if folder is None else read_snapshot(folder)

    def _report(self, snapshot: Snapshot) -> None:
        self.report(
            snapshot.history, number=len(snapshot.history), write=lambda folder: write_snapshot(snapshot, folder)
        )

    def _write_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        # the whole history each time: a run that was killed and resumed has each epoch once
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / ".metrics.jsonl.partial"
        partial.write_text("".join(json.dumps(record) + "\n" for record in history), encoding="utf-8")
        partial.replace(self.folder / "metrics.jsonl")

    def _reduced(self, values: Iterable[float], operation: Any) -> list[float]:
        numbers = torch.tensor(list(values), dtype=torch.float64)
        if self.world_size > 1:
            dist.all_reduce(numbers, op=operation)
        return [float(number) for number in numbers]


@dataclass(frozen=True)
class Workers:
    """Where a loop runs.

    Attributes:
        count: Ray Train workers; 0 runs the loop in this process.
        cpus: logical CPUs of each.
        gpu: one GPU each.
        max_failures: restarts from the newest checkpoint after a worker died.
    """

    count: int = 0
    cpus: float = 1
    gpu: bool = False
    max_failures: int = 3


def fit(
    loop: Callable[[dict[str, Any]], None],
    job: dict[str, Any],
    *,
    folder: Path,
    workers: Workers,
    datasets: dict[str, ray.data.Dataset] | None = None,
) -> Result:
    """Run `loop(job)` from the newest checkpoint of `folder` on; every worker sees the whole of each dataset.

    Raises:
        CheckpointError: the run left no checkpoint.
        KognerError: what the loop raised, as itself.
    """
    trainer = TorchTrainer(
        loop,
        train_loop_config=job | {"folder": str(folder.absolute()), "local": workers.count == 0},
        datasets=datasets or {},
        dataset_config=DataConfig(datasets_to_split=[]),
        torch_config=TorchConfig(backend="nccl" if workers.gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers.count, use_gpu=workers.gpu, resources_per_worker={"CPU": workers.cpus}
        ),
        run_config=RunConfig(
            name=folder.name,
            storage_path=str(folder.parent.absolute()),
            failure_config=FailureConfig(max_failures=workers.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=_KEPT),
        ),
    )
    try:
        result = trainer.fit()
    except WorkerGroupError as error:
        raise _plain(error) from error
    if result.checkpoint is None:
        raise CheckpointError(f"{folder}: the run ended without a checkpoint")
    return result


def _plain(error: WorkerGroupError) -> Exception:
    """The error of ours that ended a worker, if it was one."""
    ours = (failure for failure in error.worker_failures.values() if isinstance(failure, KognerError))
    return next(ours, error)


def run_training(
    loop: Callable[[dict[str, Any]], None], job: dict[str, Any], *, folder: Path, workers: int
) -> Snapshot:
    """`fit` for a loop whose checkpoints are snapshots; returns the last one."""
    if workers:
        start_ray()
    else:
        logging.getLogger("ray.train").setLevel(logging.WARNING)  # it says every report aloud
    result = fit(loop, job, folder=folder, workers=Workers(workers))
    with result.checkpoint.as_directory() as source:
        return read_snapshot(Path(source))


def stream_seed(*parts: int) -> int:
    """A seed for the random stream that `parts` (run seed, epoch, rank, step ...) name; 31 bits, as DGL takes."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0] >> 1)
