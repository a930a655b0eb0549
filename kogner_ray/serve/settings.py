"""Settings of the service: flat, so that `serve run kogner_ray.serve:app key=value` reaches each of them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from kogner_ray.config import Config
from kogner_ray.student.dense import Precision

DEFAULT_MODEL = "runs/embedded/checkpoint"


class ServeConfig(Config):
    """What is served, how, and how much of it at a time.

    Attributes:
        model: checkpoint folder or hub id; the embedded default is what `python jobs/distill.py` leaves.
        models: name -> folder or hub id of others, which requests name.
        models_in_memory: how many of them a replica keeps; the one that was used longest ago goes first.
        kg: folder of the KG (`nodes.parquet`, `edges.parquet`) whose neighbourhoods `/v1/entities` shows.
        precision: `fp32`, `bf16` or `int8`; see `Tagger`.
        vocabularies: prefixes of the ids to link to, best first, with commas between (`MESH,OMIM`); "" takes all.
        link_threshold: probability that a link must reach; None takes the checkpoint's.
        max_batch: words tagged at once, whoever asked for them.
        max_queue: words of others that may be computed before a request is done; beyond, it is refused with 429.
        max_body: bytes of a request.
        max_texts: texts of a request.
        max_words: words of a text.
        max_types: types of a request.
        deadline_s: seconds that a request may take.
        stuck_s: seconds that one batch may take; after that its replica is given up for a new one.
        min_replicas: replicas at rest.
        max_replicas: replicas under load.
        target_requests: requests at once that a replica is for; more of them start another one.
        upscale_delay_s: seconds of too many requests before a replica is started, and over which they are averaged.
        downscale_delay_s: seconds of too few before one is stopped; loading a model again costs more than keeping it.
        surge: percent of the replicas that an update starts before it stops old ones; with 0, which needs no room
            beside them, old ones stop first and a single replica leaves a gap.
        cpus: logical CPUs a replica, and threads that it computes with.
        gpus: GPUs a replica.
        log_texts: write what users sent into the logs.
    """

    model: str = DEFAULT_MODEL
    models: dict[str, str] = Field(default_factory=dict)
    models_in_memory: int = Field(2, ge=1)
    kg: str | None = None
    precision: Precision = "fp32"
    vocabularies: str = ""
    link_threshold: float | None = Field(None, ge=0, le=1)
    max_batch: int = Field(1024, ge=1)
    max_queue: int = Field(16_384, ge=1)
    max_body: int = Field(16 << 20, ge=1)
    max_texts: int = Field(4096, ge=1)
    max_words: int = Field(20_000, ge=1)
    max_types: int = Field(1000, ge=1)
    deadline_s: float = Field(60.0, gt=0)
    stuck_s: float = Field(300.0, gt=0)
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(1, ge=1)
    target_requests: float = Field(16.0, gt=0)
    upscale_delay_s: float = Field(10.0, gt=0)
    downscale_delay_s: float = Field(300.0, gt=0)
    surge: int = Field(25, ge=0, le=100)
    cpus: float = Field(1.0, gt=0)
    gpus: float = Field(0.0, ge=0)
    log_texts: bool = False

    @field_validator("model", "kg")
    @classmethod
    def _absolute(cls, name: str | None) -> str | None:
        """Folders as replicas find them, wherever they are started."""
        return str(Path(name).resolve()) if name and Path(name).is_dir() else name
