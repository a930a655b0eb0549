"""Running the service on this machine until it is interrupted."""

from __future__ import annotations

import logging
import signal
import threading

from ray import serve

from kogner_ray.cluster import start_ray
from kogner_ray.serve.service import application
from kogner_ray.serve.settings import ServeConfig


def run(config: ServeConfig, *, host: str, port: int) -> None:
    """Serve at `host`:`port` until SIGINT or SIGTERM; requests that run then are finished."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    start_ray()
    for name in ("ray.serve", "ray._private.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)
    serve.start(http_options={"host": host, "port": port})
    try:
        serve.run(application(config), name="kogner", route_prefix="/")
        print(f"serving {config.model} at http://{host}:{port}", flush=True)
        stop.wait()
    finally:
        serve.shutdown()
