"""Why a request is refused, as RFC 9457 problem documents."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

TITLES = {
    400: "Bad request",
    401: "No or unknown API key",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not as expected",
    429: "Too many requests",
    500: "Internal error",
    503: "Not now",
}
MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that is refused.

    Attributes:
        status: HTTP status.
        detail: what was wrong, what was expected and what was found.
        limit: name of the setting that was exceeded.
        maximum: its value.
        got: what the request has.
        retry_after_s: when to come again.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        limit: str | None = None,
        maximum: float | None = None,
        got: float | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.limit, self.maximum, self.got = limit, maximum, got
        self.retry_after_s = retry_after_s

    def body(self, request_id: str) -> dict[str, Any]:
        """The document."""
        members = {"limit": self.limit, "maximum": self.maximum, "got": self.got}
        said = {name: value for name, value in members.items() if value is not None}
        title = TITLES.get(self.status, "Error")
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **said} | {
            "request_id": request_id
        }

    def response(self, request_id: str) -> JSONResponse:
        """The answer, with `Retry-After` where it is known and, at 401, what to come with."""
        after = {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s)))}
        asked = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return JSONResponse(self.body(request_id), self.status, headers=after | asked, media_type=MEDIA_TYPE)


def over(status: int, limit: str, maximum: float, got: float, what: str) -> Problem:
    """A limit that was exceeded."""
    detail = f"{what}: at most {maximum:,} ({limit}), got {got:,}"
    return Problem(status, detail, limit=limit, maximum=maximum, got=got)
