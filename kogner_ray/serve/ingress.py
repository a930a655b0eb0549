"""The environment of Ray's fast ingress, HAProxy in front of the replicas; Ray reads it when it is imported."""

from __future__ import annotations

import socket

FAST_INGRESS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "kogner_ray.serve.headers:middlewares",
    # Tagging changes nothing, so a request whose replica died is sent to another one.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_RETRIES": "3",
    "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "32768",  # what is longer is not sent again
}
_PORTS = {"RAY_SERVE_HAPROXY_METRICS_PORT": 9101, "RAY_SERVE_HAPROXY_STATS_PORT": 8404}


def ingress_environment() -> dict[str, str]:
    """`FAST_INGRESS`, and ports of HAProxy's own pages: Ray's, or free ones where another service has taken these.

    These two pages (counts of connections, no requests) listen on all interfaces; Ray has no setting for that.
    """
    return FAST_INGRESS | {name: str(_free(port)) for name, port in _PORTS.items()}


def _free(port: int) -> int:
    for wanted in (port, 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("", wanted))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise OSError("no free port")
