"""Running the service on this machine until it is interrupted."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable

from ray import serve

from kogner_ray.cluster import start_ray
from kogner_ray.serve.service import application
from kogner_ray.serve.settings import ServeConfig


def run(config: ServeConfig, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve at `host`:`port` until SIGINT or SIGTERM; requests that run then are finished.

    Args:
        config: what is served.
        host: address to listen on.
        port: port to listen on.
        ready: called with the service's address once it answers.
    """
    stop = threading.Event()
    start_ray()
    for number in (signal.SIGINT, signal.SIGTERM):  # after Ray, whose own handlers would replace these, and abort
        signal.signal(number, lambda *_: stop.set())
    for name in ("ray.serve", "ray._private.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)
    serve.start(http_options={"host": host, "port": port})
    try:
        serve.run(application(config), name="kogner", route_prefix="/")
        ready(f"http://{host}:{port}")
        stop.wait()
    finally:
        serve.shutdown()
