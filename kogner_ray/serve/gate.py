"""What every request passes: its id, its API key, the size of its body, security headers, a line in the log, counts."""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kogner_ray.serve.counters import REQUEST_SECONDS
from kogner_ray.serve.problems import Problem, over

LOG = logging.getLogger("kogner_ray.serve")
API_KEYS = "KOGNER_API_KEYS"
"""Environment variable with the API keys that are let in, by commas; all are when it is not set."""

_OPEN = {"/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
}
_ID = re.compile(r"[\w.-]{1,64}")


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, max_body: int, keys: Iterable[str] | None = None) -> None:
        """`keys`: API keys that are let in; None takes those of the environment."""
        self._app, self._max_body = app, max_body
        given = os.environ.get(API_KEYS, "").split(",") if keys is None else keys
        self._keys = [key.strip().encode() for key in given if key.strip()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked_id = headers.get("x-request-id", "")
        request_id = asked_id if _ID.fullmatch(asked_id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status, started = 500, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out["X-Request-Id"] = request_id
                for name, value in _HEADERS.items():
                    out.setdefault(name, value)
            await send(message)

        try:
            self._check(scope["path"], headers)
            await self._app(scope, _bounded(receive, self._max_body), answer)
        except Problem as problem:
            await problem.response(request_id)(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - started
            REQUEST_SECONDS.labels(_known(scope["path"]), str(status)).observe(seconds)
            _log(scope, request_id, status, seconds)

    def _check(self, path: str, headers: Headers) -> None:
        if self._keys and path not in _OPEN and not path.startswith("/page/"):
            scheme, _, key = headers.get("authorization", "").partition(" ")
            matches = [hmac.compare_digest(key.strip().encode(), known) for known in self._keys]
            if scheme.lower() != "bearer" or not any(matches):
                raise Problem(401, "Authorization: expected Bearer and a known API key")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_body:
            raise over(413, "max_body", self._max_body, int(length), "bytes of the body")


def _bounded(receive: Receive, most: int) -> Receive:
    """`receive`, which refuses a body that says no length and is too long."""
    n_bytes = 0

    async def bounded() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > most:
            raise over(413, "max_body", most, n_bytes, "bytes of the body")
        return message

    return bounded


def _known(path: str) -> str:
    """The path as a label of few values."""
    if path.startswith("/v1/entities/"):
        return "/v1/entities/{id}"
    return path if path in _OPEN or path in ("/v1/tag", "/v1/tag/stream", "/v1/models") else "other"


def _log(scope: Scope, request_id: str, status: int, seconds: float) -> None:
    """One JSON object a request, without anything that the user wrote."""
    said = {
        "request_id": request_id,
        "method": scope["method"],
        "path": _known(scope["path"]),
        "status": status,
        "ms": round(1000 * seconds, 1),
    }
    LOG.info(json.dumps(said))
