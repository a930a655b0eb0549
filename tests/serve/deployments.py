"""Services of a test's own on the session's Ray Serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kogner_ray.client import Retries
from kogner_ray.serve.settings import ServeConfig

NEVER = Retries(most=0)


@contextmanager
def deployed(service: str, name: str, config: ServeConfig) -> Iterator[str]:
    """The address of one more service."""
    from ray import serve

    deploy(name, config)
    try:
        yield f"{service}/{name}"
    finally:
        serve.delete(name)


def deploy(name: str, config: ServeConfig) -> None:
    from ray import serve

    from kogner_ray.serve import app

    serve.run(app(config), name=name, route_prefix=f"/{name}")


def pids(name: str) -> list[int]:
    """Process ids of the replicas that run."""
    from ray.serve.context import _get_global_client

    details = _get_global_client().get_serve_details()
    found = details["applications"][name]["deployments"]["Service"]["replicas"]
    return [replica["pid"] for replica in found if replica["state"] == "RUNNING"]
