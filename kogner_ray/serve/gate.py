"""What every request passes: its id, its API key, the size of its body, security headers, a line in the log, counts."""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import time
import traceback
import uuid
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kogner_ray.errors import KognerError
from kogner_ray.serve.counters import REFUSED, REQUEST_SECONDS
from kogner_ray.serve.problems import Problem, over

LOG = logging.getLogger("kogner_ray.serve")
API_KEYS = "KOGNER_API_KEYS"
"""Environment variable with the API keys that are let in, by commas; all are when it is not set."""

_TAGGING = {"/v1/tag", "/v1/tag/stream"}
_OPEN = {"/", "/healthz", "/readyz", "/metrics", "/openapi.json"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
}
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


def known_keys() -> list[bytes]:
    """The API keys of the environment."""
    return [key.strip().encode() for key in os.environ.get(API_KEYS, "").split(",") if key.strip()]


def failure(error: Exception, request_id: str, *, whole: bool = False) -> Problem:
    """What a caller is told of an error of ours; the log has where it was raised.

    Args:
        error: the error.
        request_id: of the request.
        whole: log what the error says, too, which may quote the user's texts.
    """
    said = {
        "request_id": request_id,
        "error": type(error).__name__,
        "at": traceback.format_tb(error.__traceback__)[-3:],
    }
    LOG.error(json.dumps(said | ({"says": str(error)} if whole else {})))
    status = 503 if isinstance(error, KognerError) else 500
    return Problem(status, "the request failed here; its id is in the log")


class Gate:
    """ASGI middleware."""

    def __init__(
        self, app: ASGIApp, *, max_body: int, keys: Sequence[bytes], log_texts: bool, admit: Callable[[int], None]
    ) -> None:
        """Nothing is read yet.

        Args:
            app: what answers.
            max_body: bytes of a request.
            keys: API keys that are let in; none lets in everybody.
            log_texts: whether errors are logged with what they quote.
            admit: refuses to tag a body of so many bytes where that is known before it is read.
        """
        self._app, self._max_body, self._keys, self._log_texts, self._admit = app, max_body, keys, log_texts, admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, headers = scope["path"].removeprefix(scope.get("root_path", "")), Headers(scope=scope)
        asked_id = headers.get("x-request-id", "")
        request_id = asked_id if _ID.fullmatch(asked_id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status, started, begun = 499, time.perf_counter(), False

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                out = MutableHeaders(scope=message)
                out["X-Request-Id"] = request_id
                for name, value in _HEADERS.items():
                    out.setdefault(name, value)
            await send(message)

        try:
            self._check(path, headers)
            await self._app(scope, _bounded(receive, self._max_body), answer)
        except Problem as problem:
            REFUSED.labels(problem.limit or str(problem.status)).inc()
            await problem.response(request_id)(scope, receive, answer)
        except ClientDisconnect:  # before its body was here: nobody is left to be told
            pass
        except Exception as error:
            told = failure(error, request_id, whole=self._log_texts)
            if begun:  # a connection that breaks off tells the caller; the server need not log the error again
                raise ConnectionAbortedError(told.detail) from None
            await told.response(request_id)(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - started
            REQUEST_SECONDS.labels(_known(path), str(status)).observe(seconds)
            _log(scope, path, request_id, status, seconds)

    def _check(self, path: str, headers: Headers) -> None:
        if self._keys and path not in _OPEN and not path.startswith("/page/"):
            scheme, _, key = headers.get("authorization", "").partition(" ")
            matches = [hmac.compare_digest(key.strip().encode(), known) for known in self._keys]
            if scheme.lower() != "bearer" or not any(matches):
                raise Problem(401, "Authorization: expected Bearer and a known API key")
        length = headers.get("content-length", "0")
        # str.isdigit also holds of superscripts, int() of thousands of digits of nothing
        if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > self._max_body):
            raise over(413, "max_body", self._max_body, int(length[:18]), "bytes of the body")
        if path in _TAGGING:
            self._admit(int(length) if length.isascii() and length.isdigit() else 0)


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
    return path if path in _OPEN | _TAGGING | {"/v1/models"} else "other"


def _log(scope: Scope, path: str, request_id: str, status: int, seconds: float) -> None:
    """One JSON object a request, with texts of the user only where these were put beside it."""
    said = {
        "request_id": request_id,
        "method": scope["method"],
        "path": _known(path),
        "status": status,
        "ms": round(1000 * seconds, 1),
    }
    texts = scope["state"].get("texts")
    LOG.info(json.dumps(said if texts is None else said | {"texts": texts}))
