"""Our side of `train_speed.py`: the real training loop, run in this process by Ray Train's local mode, with a clock."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ray.data
import torch
from measure import Clock, Job, Measured, children_mb, peak_mb

from kogner_ray.cluster import start_ray
from kogner_ray.data.formats.registry import read_documents
from kogner_ray.data.spans import to_table
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.train.feed import feed
from kogner_ray.train.plan import IntArray
from kogner_ray.train.progress import Progress
from kogner_ray.train.session import Session, Workers, fit
from kogner_ray.train.settings import LossConfig, TrainConfig
from kogner_ray.train.student import StudentJob, StudentLoop

_CLOCK = Clock()


class _TimedLoop(StudentLoop):
    """The loop as it is; the clock runs from the first step to the end of the last one, before evaluation."""

    def _batches_left(self) -> Iterable[IntArray]:
        batches = list(super()._batches_left())
        order = [self.store[int(row)].document for batch in batches for row in batch]
        expected = json.loads(self.session.folder.with_suffix(".order.json").read_text(encoding="utf-8"))
        assert order == expected, "the two sides would train on different batches"
        _CLOCK.start()
        return batches

    def _end_epoch(self, progress: Progress) -> None:
        _CLOCK.stop()
        super()._end_epoch(progress)


def _timed_loop(job: Mapping[str, Any]) -> None:
    session = Session.current(job["folder"], local=job["local"])
    settings = StudentJob(Path(job["start"]), TrainConfig(**job["train"]), LossConfig(**job["loss"]))
    with tempfile.TemporaryDirectory() as scratch:
        _TimedLoop(session, settings, Path(scratch)).run()


def _train(job: Job, part: str) -> None:
    """One epoch over the sentences of `part`."""
    data, folder = Path(job.data), Path(job.folder, part)
    folder.with_suffix(".order.json").write_bytes((data / f"{part}.order.json").read_bytes())
    sentences = ray.data.from_arrow(to_table(read_documents(data / f"{part}.jsonl")))
    examples, _ = feed(sentences, start=data / "start", linker=LinkerConfig())
    train = TrainConfig(epochs=1, batch_size=job.batch_size, precision="bf16", seed=job.seed, **job.options)
    fit(
        _timed_loop,
        {"start": str(data / "start"), "train": train.model_dump(), "loss": LossConfig().model_dump()},
        folder=folder,
        workers=Workers(0),
        datasets={"train": examples, "dev": ray.data.from_arrow(to_table([]))},
    )


def _main() -> None:
    job = Job.read(sys.argv[1])
    torch.set_num_threads(job.threads)
    start_ray()
    _train(job, "warm")
    _train(job, "timed")
    n_steps = len(json.loads(Path(job.data, "timed.order.json").read_text(encoding="utf-8"))) // job.batch_size
    Measured(_CLOCK.seconds, n_steps, peak_mb(), children_mb()).write(job)


if __name__ == "__main__":
    _main()
