"""Headers as Ray Serve can read them, in front of what it does itself before a request reaches the application."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send


class Utf8Headers:
    """ASGI middleware: values of headers that are not UTF-8 become UTF-8 of what they are in Latin-1.

    Ray Serve decodes `X-Request-Id` and others as UTF-8; where they are not, it answers with a bare 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if "headers" in scope:
            scope["headers"] = [(name, _utf8(value)) for name, value in scope["headers"]]
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """For Ray's `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`."""
    return [Middleware(Utf8Headers)]


def _utf8(value: bytes) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1").encode()
    return value
