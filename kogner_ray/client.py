"""Asking a running service from Python: what `Tagger.tag` gives, over HTTP, with another try where that helps.

Tagging changes nothing, so a request that was refused for now (429, 503) or whose connection broke is sent again.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import quote

import httpx

from kogner_ray.errors import KognerError
from kogner_ray.tagging import TaggedEntity, TagRequest

ADDRESS = "http://127.0.0.1:8000"
_AGAIN = {429, 502, 503, 504}
_PROBLEM = "application/problem+json"
_LONGEST_PAUSE_S = 20.0
Indexed = tuple[int, list[TaggedEntity]]


class ServiceError(KognerError):
    """A request that the service refused, or that it could not be asked.

    Attributes:
        status: HTTP status, or None where no answer came.
        problem: what the service said, a problem document.
    """

    def __init__(self, message: str, *, status: int | None = None, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.problem = status, dict(problem or {})


@dataclass(frozen=True)
class Retries:
    """How often, and after how long, a request is sent again.

    Attributes:
        most: times at most.
        first_pause_s: before the first; each further one takes twice as long, unless the service says how long.
    """

    most: int = 6
    first_pause_s: float = 0.2

    def pause_s(self, n_tried: int, answer: httpx.Response | None) -> float:
        """Seconds until the next try, spread so that callers do not come back together."""
        said = "" if answer is None else answer.headers.get("retry-after", "")
        known = float(said) if said.isdigit() else self.first_pause_s * 2.0**n_tried
        return min(known, _LONGEST_PAUSE_S) * random.uniform(0.75, 1.25)

    def again(self, n_tried: int, answer: httpx.Response | None) -> bool:
        """Whether another try may help."""
        return n_tried < self.most and (answer is None or answer.status_code in _AGAIN or _in_between(answer))


class Client:
    """A service's client; closes its connections at the end of a `with`."""

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        retries: Retries = Retries(),  # noqa: B008  # frozen
    ) -> None:
        """`address`: of the service; `api_key`: one that it lets in; `timeout_s`: of one try."""
        self._http = httpx.Client(base_url=address, headers=_headers(api_key), timeout=timeout_s)
        self._retries = retries

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def tag(self, request: TagRequest, *, model: str | None = None) -> list[list[TaggedEntity]]:
        """The entities of each text.

        Raises:
            ServiceError: refused, or no answer.
        """
        return _results(self._ask("POST", "/v1/tag", _body(request, model), model))

    def stream(self, request: TagRequest, *, model: str | None = None) -> Iterator[Indexed]:
        """Index and entities of each text, as they come; each once, also where the connection breaks amid."""
        missing = dict(enumerate(request.texts))
        for n_tried in range(self._retries.most + 1):
            answer, asked = None, list(missing)
            body = _body(replace(request, texts=list(missing.values())), model)
            try:
                with self._http.stream("POST", "/v1/tag/stream", json=body, headers=_where(model)) as answer:
                    if not answer.is_success:
                        answer.read()
                        _give_up(self._retries, n_tried, answer, None)
                    for line in answer.iter_lines() if answer.is_success else ():
                        if found := _of_line(line, asked):
                            del missing[found[0]]
                            yield found
            except httpx.TransportError as error:
                _give_up(self._retries, n_tried, None, error)
            if not missing and answer is not None and answer.is_success:
                return
            time.sleep(self._retries.pause_s(n_tried, answer))
        raise ServiceError(f"{len(missing)} of {len(request.texts)} texts got no answer")

    def models(self) -> list[dict[str, Any]]:
        """The models that can be asked."""
        return list(self._ask("GET", "/v1/models")["models"])

    def entity(self, id: str, *, model: str | None = None) -> dict[str, Any]:
        """An entry of the knowledge graph, with its neighbours."""
        path = f"/v1/entities/{quote(id, safe='')}"
        query = "" if model is None else f"?model={quote(model, safe='')}"
        return dict(self._ask("GET", path + query, model=model))

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, model: str | None = None) -> Any:
        for n_tried in range(self._retries.most + 1):
            answer, broken = None, None
            try:
                answer = self._http.request(method, path, json=body, headers=_where(model))
                if answer.is_success:
                    return answer.json()
            except httpx.TransportError as error:
                broken = error
            _give_up(self._retries, n_tried, answer, broken)
            time.sleep(self._retries.pause_s(n_tried, answer))
        raise AssertionError("given up above")


class AsyncClient:
    """`Client` for asyncio."""

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        retries: Retries = Retries(),  # noqa: B008  # frozen
    ) -> None:
        """As `Client`."""
        self._http = httpx.AsyncClient(base_url=address, headers=_headers(api_key), timeout=timeout_s)
        self._retries = retries

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def tag(self, request: TagRequest, *, model: str | None = None) -> list[list[TaggedEntity]]:
        """As `Client.tag`."""
        for n_tried in range(self._retries.most + 1):
            answer, broken = None, None
            try:
                answer = await self._http.post("/v1/tag", json=_body(request, model), headers=_where(model))
                if answer.is_success:
                    return _results(answer.json())
            except httpx.TransportError as error:
                broken = error
            _give_up(self._retries, n_tried, answer, broken)
            await asyncio.sleep(self._retries.pause_s(n_tried, answer))
        raise AssertionError("given up above")

    async def stream(self, request: TagRequest, *, model: str | None = None) -> AsyncIterator[Indexed]:
        """As `Client.stream`."""
        missing = dict(enumerate(request.texts))
        for n_tried in range(self._retries.most + 1):
            answer, asked = None, list(missing)
            body = _body(replace(request, texts=list(missing.values())), model)
            try:
                async with self._http.stream("POST", "/v1/tag/stream", json=body, headers=_where(model)) as answer:
                    if answer.is_success:
                        async for line in answer.aiter_lines():
                            if found := _of_line(line, asked):
                                del missing[found[0]]
                                yield found
                    else:
                        await answer.aread()
                        _give_up(self._retries, n_tried, answer, None)
            except httpx.TransportError as error:
                _give_up(self._retries, n_tried, None, error)
            if not missing and answer is not None and answer.is_success:
                return
            await asyncio.sleep(self._retries.pause_s(n_tried, answer))
        raise ServiceError(f"{len(missing)} of {len(request.texts)} texts got no answer")


def _in_between(answer: httpx.Response) -> bool:
    """Whether a proxy failed: Ray Serve's answers 500, in plain text, when a replica dies amid a request."""
    return answer.status_code >= 500 and not answer.headers.get("content-type", "").startswith(_PROBLEM)


def _headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def _where(model: str | None) -> dict[str, str]:
    """What Ray Serve's own proxy sends a request by, to a replica that has the model; the body says which is meant."""
    return {"serve-multiplexed-model-id": quote(model)} if model else {}


def _body(request: TagRequest, model: str | None) -> dict[str, Any]:
    types = request.types if request.types is None or isinstance(request.types, Mapping) else list(request.types)
    values = {"texts": list(request.texts), "types": types, "model": model}
    return asdict(replace(request, texts=[], types=None)) | values


def _results(answer: Mapping[str, Any]) -> list[list[TaggedEntity]]:
    return [_entities(result) for result in answer["results"]]


def _entities(result: Mapping[str, Any]) -> list[TaggedEntity]:
    return [TaggedEntity(**entity) for entity in result["entities"]]


def _of_line(line: str, asked: Sequence[int]) -> Indexed | None:
    """Index and entities of a streamed line; None for the last one."""
    said = json.loads(line)
    if "error" in said:
        problem = said["error"]
        raise ServiceError(problem["detail"], status=problem["status"], problem=problem)
    return (asked[said["index"]], _entities(said)) if "index" in said else None


def _give_up(retries: Retries, n_tried: int, answer: httpx.Response | None, broken: Exception | None) -> None:
    """Raise what went wrong where another try does not help."""
    if retries.again(n_tried, answer):
        return
    if answer is None or answer.is_success:
        raise ServiceError(f"no answer after {n_tried + 1} tries: {broken}") from broken
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    detail = problem.get("detail") or answer.text[:200] or answer.reason_phrase
    raise ServiceError(f"{answer.status_code}: {detail}", status=answer.status_code, problem=problem)
