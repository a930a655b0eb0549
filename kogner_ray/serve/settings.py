"""Settings of the service: flat, so that `serve run kogner_ray.serve:app key=value` reaches each of them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from kogner_ray.config import Config
from kogner_ray.student.dense import Precision

DEFAULT_MODEL = "runs/embedded/checkpoint"
FAST_INGRESS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "kogner_ray.serve.headers:middlewares",
}
"""Environment of Ray's fast ingress, with headers that it can read; Ray reads it when it is imported.

It binds 0.0.0.0 unless a host is given."""


class ServeConfig(Config):
    """What is served, how, and how much of it at a time.

    Attributes:
        model: checkpoint folder or hub id; the embedded default is what `python jobs/distill.py` leaves.
        models: name -> folder or hub id of others, which requests name.
        models_in_memory: how many of them a replica keeps; the one that was used longest ago goes first.
        kg: folder of the KG (`nodes.parquet`, `edges.parquet`) whose neighbourhoods `/v1/entities` shows.
        precision: `fp32`, `bf16` or `int8`; see `Tagger`.
        max_batch: words tagged at once, whoever asked for them.
        max_queue: words that may wait; beyond, requests are refused with 429.
        max_body: bytes of a request.
        max_texts: texts of a request.
        max_words: words of a text.
        max_types: types of a request.
        deadline_s: seconds that a request may take.
        min_replicas: replicas at rest.
        max_replicas: replicas under load.
        cpus: logical CPUs a replica, and threads that it computes with.
        gpus: GPUs a replica.
        log_texts: write what users sent into the logs.
    """

    model: str = DEFAULT_MODEL
    models: dict[str, str] = Field(default_factory=dict)
    models_in_memory: int = Field(2, ge=1)
    kg: str | None = None
    precision: Precision = "fp32"
    max_batch: int = Field(1024, ge=1)
    max_queue: int = Field(200_000, ge=1)
    max_body: int = Field(16 << 20, ge=1)
    max_texts: int = Field(4096, ge=1)
    max_words: int = Field(20_000, ge=1)
    max_types: int = Field(1000, ge=1)
    deadline_s: float = Field(60.0, gt=0)
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(1, ge=1)
    cpus: float = Field(1.0, gt=0)
    gpus: float = Field(0.0, ge=0)
    log_texts: bool = False

    @field_validator("model", "kg")
    @classmethod
    def _absolute(cls, name: str | None) -> str | None:
        """Folders as replicas find them, wherever they are started."""
        return str(Path(name).resolve()) if name and Path(name).is_dir() else name
