"""The service: one on Ray Serve for the session, and replicas of any settings on a server of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from kogner_ray.serve.api import api
from kogner_ray.serve.models import Models
from kogner_ray.serve.settings import ServeConfig

Replica = Callable[..., httpx.Client]


@contextmanager
def running(config: ServeConfig, models: Models | None = None, *, root_path: str = "") -> Iterator[str]:
    """A replica on a socket of its own, without Ray; yields its address."""
    models = models or Models(config)
    application = api(models, config)
    settings = uvicorn.Config(application, host="127.0.0.1", port=0, log_level="warning", root_path=root_path)
    server = uvicorn.Server(settings)

    async def serve() -> None:
        await models.get(None)
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the replica did not start"
            thread.join(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def replica(tiny_checkpoint: Path) -> Iterator[Replica]:
    """Makes clients of replicas with given settings, each started once a module."""
    with ExitStack() as stack:
        clients: dict[str, httpx.Client] = {}

        def client(**values: Any) -> httpx.Client:
            config = ServeConfig(**{"model": str(tiny_checkpoint)} | values)
            if repr(config) not in clients:
                address = stack.enter_context(running(config))
                clients[repr(config)] = stack.enter_context(httpx.Client(base_url=address, timeout=120))
            return clients[repr(config)]

        yield client


@pytest.fixture(scope="session")
def service(ray_cluster: None, tiny_checkpoint: Path) -> Iterator[str]:
    """Address of the service on Ray Serve."""
    import socket

    from ray import serve

    from kogner_ray.serve import app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app(ServeConfig(model=str(tiny_checkpoint), cpus=0.5)), name="kogner")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
