"""The deployment: a replica holds models and answers HTTP itself."""

from __future__ import annotations

import logging
import sys
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
_SWITCH_S = 0.001  # the event loop waits that long for threads that compute; Python's own 5 ms add up over a request
_GRACE_S = 10.0
_HEALTH_S = 2.0  # a dead replica is missed, and another one started, after that long


@serve.ingress()
class Service:
    """A replica."""

    async def __init__(self, values: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        """`values`: a `ServeConfig`; the default model is in memory when this returns."""
        logging.getLogger("kogner_ray.serve").setLevel(logging.INFO)
        sys.setswitchinterval(_SWITCH_S)
        self._config = make_config(ServeConfig, values)
        self._models = Models(self._config, serve.multiplexed(max_num_models_per_replica=self._config.models_in_memory))
        await self._models.get(None)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What answers HTTP."""
        return api(self._models, self._config)

    def check_health(self) -> None:
        """Serve asks this from time to time and replaces a replica that fails; one whose event loop hangs does so."""
        self._models.check()


def application(config: ServeConfig) -> Application:
    """The service, ready for `serve.run`."""
    look_back_s = min(30.0, config.upscale_delay_s)
    deployment = serve.deployment(
        Service,
        name="Service",
        max_ongoing_requests=_QUEUED,
        autoscaling_config={
            "min_replicas": config.min_replicas,
            "max_replicas": max(config.max_replicas, config.min_replicas),
            "initial_replicas": max(1, config.min_replicas),
            "target_ongoing_requests": config.target_requests,
            "upscale_delay_s": config.upscale_delay_s,
            "downscale_delay_s": config.downscale_delay_s,
            "look_back_period_s": look_back_s,
            "metrics_interval_s": look_back_s / 4,
        },
        max_surge_percent=config.surge,
        health_check_period_s=_HEALTH_S,
        graceful_shutdown_timeout_s=config.deadline_s + _GRACE_S,
        ray_actor_options={
            "num_cpus": config.cpus,
            "num_gpus": config.gpus,
            "runtime_env": {"env_vars": MALLOC},
        },
    )
    return deployment.bind(config.model_dump())
