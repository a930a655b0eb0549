"""The deployment: a replica holds models and answers HTTP itself."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from kogner_ray.cluster import MALLOC
from kogner_ray.config import make_config
from kogner_ray.serve.api import api
from kogner_ray.serve.models import Models
from kogner_ray.serve.settings import ServeConfig

_QUEUED = 4096


@serve.ingress()
class Service:
    """A replica."""

    async def __init__(self, values: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        """`values`: a `ServeConfig`; the default model is in memory when this returns."""
        logging.getLogger("kogner_ray.serve").setLevel(logging.INFO)
        self._config = make_config(ServeConfig, values)
        self._models = Models(self._config)
        await self._models.get(None)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What answers HTTP."""
        return api(self._models, self._config)


def application(config: ServeConfig) -> Application:
    """The service, ready for `serve.run`."""
    most = max(config.max_replicas, config.min_replicas)
    deployment = serve.deployment(
        Service,
        name="Service",
        max_ongoing_requests=_QUEUED,
        autoscaling_config={
            "min_replicas": config.min_replicas,
            "max_replicas": most,
            "initial_replicas": max(1, config.min_replicas),
            "target_ongoing_requests": 16,
        },
        ray_actor_options={
            "num_cpus": config.cpus,
            "num_gpus": config.gpus,
            "runtime_env": {"env_vars": MALLOC},
        },
    )
    return deployment.bind(config.model_dump())
