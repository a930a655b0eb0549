"""The Ray Data pipeline: inputs, cut into chunks, through an autoscaling pool of actors."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence

import ray.data
from pydantic import Field, PositiveInt, model_validator
from ray.data import ActorPoolStrategy, ExecutionResources
from typing_extensions import Self

from kogner_ray.config import Config
from kogner_ray.tag.attempts import Attempts
from kogner_ray.tag.chunks import ChunkConfig, ChunkDatasource, Pending
from kogner_ray.tag.output import OutputFolder
from kogner_ray.tag.worker import Result, Tagging, TagWorker

_READER_CPUS = 0.1  # reading takes a few percent of what tagging takes
_BLOCK = 1  # bytes: a chunk is a block of its own, so that an actor is handed one at a time
_WAITING = 8 << 20  # bytes of chunks an actor
_NO_PROGRESS_S = 1800  # one document of many megabytes can take its actor minutes


class PoolConfig(Config):
    """The actors that tag.

    Attributes:
        min: as many from the beginning.
        max: as many when there is work for them; by default one for `threads` of the cluster's CPUs, or for each GPU.
        threads: of torch, in each of them; also the CPUs that Ray reserves for it.
        gpus: of each of them, may be a fraction; 0 tags on the CPU.
    """

    min: PositiveInt = 1
    max: PositiveInt | None = None
    threads: PositiveInt = 1
    gpus: float = Field(0, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max: expected at least min={self.min}, got {self.max}")
        return self

    def most(self) -> int:
        """How many there may be on the Ray that runs."""
        if self.max is not None:
            return self.max
        if self.gpus:
            return max(self.min, int(ray.cluster_resources().get("GPU", 0) / self.gpus))
        # logical CPUs of a Ray that was started here may be more than the machine has
        n_cpus = ray.cluster_resources().get("CPU", 1) if os.environ.get("RAY_ADDRESS") else os.cpu_count() or 1
        return max(self.min, int(n_cpus / self.threads))


def tagged(
    pending: Sequence[Pending],
    format: str | None,
    tagging: Tagging,
    output: OutputFolder,
    *,
    chunks: ChunkConfig,
    pool: PoolConfig,
) -> Iterator[Result]:
    """Tag what is pending; a result for each chunk when it is committed, and for the end of each input."""
    dataset = ray.data.read_datasource(
        ChunkDatasource(pending, format, chunks),
        override_num_blocks=len(pending),
        num_cpus=_READER_CPUS,
        # so little each that there would be dozens, each a process of some hundred megabytes
        concurrency=min(len(pending), 2 + pool.most() // 8),
    ).map_batches(
        TagWorker,
        fn_constructor_args=(tagging, output, Attempts.start()),
        fn_constructor_kwargs={"threads": pool.threads, "device": "cuda" if pool.gpus else "cpu"},
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=pool.min, max_size=pool.most()),
        num_cpus=pool.threads,
        num_gpus=pool.gpus,
    )
    dataset.context.target_max_block_size = _BLOCK
    dataset.context.execution_no_progress_timeout_s = _NO_PROGRESS_S
    options = dataset.context.execution_options
    # in order, the chunks of the second input would pile up until the first one ends
    options.preserve_order = False
    # reading is far ahead otherwise: Ray would let it fill a quarter of the memory with chunks that wait
    options.resource_limits = ExecutionResources.for_limits(object_store_memory=_WAITING * (2 + pool.most()))
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for value in batch["result"].to_pylist():
            yield pickle.loads(value)
