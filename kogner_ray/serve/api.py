"""The HTTP interface of a replica, as a FastAPI application."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as PathValue
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse

from kogner_ray import __version__
from kogner_ray.errors import ConfigError
from kogner_ray.serve import documents as formats
from kogner_ray.serve import openapi
from kogner_ray.serve.batcher import Tagged
from kogner_ray.serve.bodies import KgEntityBody, ModelsBody, TagBody, entities_as_json
from kogner_ray.serve.counters import QUEUE_WORDS, REFUSED, REGISTRY
from kogner_ray.serve.gate import Gate, failure, known_keys
from kogner_ray.serve.models import Models, Stuck
from kogner_ray.serve.problems import Problem
from kogner_ray.serve.question import Question, aside, question_of, read_json, settings_of
from kogner_ray.serve.settings import ServeConfig

PAGE = Path(__file__).with_name("page")
T = TypeVar("T")


def api(models: Models, config: ServeConfig) -> FastAPI:
    """The application over `models`."""
    app = FastAPI(
        title="kogner_ray",
        version=__version__,
        description="Typed, KG-linked biomedical entities of texts.",
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever host the request names
    )
    keys = known_keys()
    document = cache(lambda: openapi.describe(app, config, guarded=bool(keys)))
    app.openapi = document  # type: ignore[method-assign]
    app.add_middleware(Gate, max_body=config.max_body, keys=keys, log_texts=config.log_texts, admit=models.admit)
    _refusals(app)
    _tagging(app, models, config)
    _looking_up(app, models)
    _health(app, models)
    if PAGE.is_dir():
        app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app


def _tagging(app: FastAPI, models: Models, config: ServeConfig) -> None:
    refused = openapi.problems(400, 401, 404, 406, 413, 415, 422, 429, 503)

    @app.post(
        "/v1/tag",
        responses=refused | openapi.tagged(),
        openapi_extra=openapi.asks(documents=True),
        summary="The entities of texts",
    )
    async def tag(request: Request) -> Response:
        """Of texts in a JSON object, or of documents in PubTator or BioC, with settings as query parameters."""
        return await _in_time(config, _tagged(request, models, config))

    @app.post(
        "/v1/tag/stream",
        response_class=StreamingResponse,
        responses=refused | openapi.streamed(),
        openapi_extra=openapi.asks(documents=False),
        summary="The entities of many texts, as they come",
    )
    async def stream(request: Request) -> Response:
        """A line a text, `{"index": ..., "entities": [...]}`, in any order; the last one is `{"done": n}`."""
        end = time.monotonic() + config.deadline_s
        question = await _in_time(config, _streamed(request, models, config))
        lines = _lines(question, end, config, request.state.request_id)
        return StreamingResponse(lines, media_type=openapi.NDJSON)


async def _tagged(request: Request, models: Models, config: ServeConfig) -> Response:
    raw = await request.body()
    format = formats.format_of(request.headers)
    answer = formats.accepted(request.headers.get("accept"), format)
    settings = settings_of(request.query_params)
    documents = None if format is None else await asyncio.to_thread(formats.read_body, raw, format, config.max_body)
    if documents is None:
        body = await aside(len(raw), lambda: read_json(raw, settings))
    else:
        body = TagBody.model_construct(texts=[document.text for document in documents], **dict(settings))
    question = await _asked(request, body, len(raw), models, config)
    tagged = await _wanted(question, request)
    if answer is not None and documents is not None:
        written = await asyncio.to_thread(formats.written, documents, tagged, answer)
        media_type = next(name for name, format in formats.FORMATS.items() if format == answer)
        return Response(written, media_type=media_type)
    return await aside(len(raw), lambda: _answer(question, tagged))


async def _streamed(request: Request, models: Models, config: ServeConfig) -> Question:
    raw = await request.body()
    if formats.format_of(request.headers) is not None:
        raise Problem(415, f"Content-Type: expected {formats.JSON}")
    formats.accepts(request.headers.get("accept"), openapi.NDJSON)
    settings = settings_of(request.query_params)
    body = await aside(len(raw), lambda: read_json(raw, settings))
    return await _asked(request, body, len(raw), models, config)


async def _asked(request: Request, body: TagBody, size: int, models: Models, config: ServeConfig) -> Question:
    """The question; its texts go into the log where they may."""
    if config.log_texts:
        request.state.texts = body.texts
    return await question_of(body, size, models, config)


def _answer(question: Question, tagged: Tagged) -> Response:
    results = [{"entities": entities_as_json(entities)} for entities in tagged]
    return JSONResponse({"model": question.model.name, "results": results})


async def _in_time(config: ServeConfig, work: Coroutine[Any, Any, T]) -> T:
    """What comes of it before the deadline."""
    try:
        return await asyncio.wait_for(work, config.deadline_s)
    except asyncio.TimeoutError:
        raise _late(config) from None


async def _wanted(question: Question, request: Request) -> Tagged:
    """What was found, as long as somebody waits for it."""
    batcher = question.model.batcher
    answer = asyncio.ensure_future(batcher.tag(question.request, question.n_words, question.n_types))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise Problem(499, "the caller has gone")
    finally:
        answer.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    """Return when the caller has closed the connection; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _lines(question: Question, end: float, config: ServeConfig, request_id: str) -> AsyncIterator[bytes]:
    parts = question.model.batcher.stream(question.request, question.n_words, question.n_types)
    last: dict[str, Any] = {"done": len(question.request.texts)}
    try:
        while True:
            first, tagged = await asyncio.wait_for(parts.__anext__(), end - time.monotonic())
            yield b"".join(
                _line({"index": i, "entities": entities_as_json(own)}) for i, own in enumerate(tagged, first)
            )
    except StopAsyncIteration:
        pass
    except asyncio.TimeoutError:
        last = {"error": _late(config).body(request_id)}
    except Problem as problem:
        last = {"error": problem.body(request_id)}
    except ConfigError as error:
        last = {"error": Problem(422, str(error)).body(request_id)}
    except Exception as error:
        last = {"error": failure(error, request_id, whole=config.log_texts).body(request_id)}
    finally:
        await parts.aclose()
    yield _line(last)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _late(config: ServeConfig) -> Problem:
    detail = f"not done within {config.deadline_s:g} s (deadline_s); send less at a time"
    return Problem(503, detail, limit="deadline_s", maximum=config.deadline_s, retry_after_s=1)


def _looking_up(app: FastAPI, models: Models) -> None:
    @app.get(
        "/v1/models",
        response_model=ModelsBody,
        responses=openapi.problems(401),
        summary="The models that can be asked",
    )
    async def known() -> Response:
        return JSONResponse({"models": list(models.describe())})

    @app.get(
        "/v1/entities/{id:path}",
        response_model=KgEntityBody,
        responses=openapi.problems(401, 404, 422, 503),
        summary="An entry of the knowledge graph, with its neighbours",
    )
    async def entity(
        id: Annotated[str, PathValue(examples=["MESH:D008687"], description="as answers have it in `kg_id`")],
        model: Annotated[str | None, Query(description="one of /v1/models")] = None,
    ) -> Response:
        entry = (await models.get(model)).knowledge.entry(id)
        if entry is None:
            raise Problem(404, f"id: no entity of this model's knowledge graph is called {id[:200]!r}")
        return JSONResponse(entry)


def _health(app: FastAPI, models: Models) -> None:
    @app.get(
        "/healthz",
        summary="Whether the process answers",
        response_class=PlainTextResponse,
        responses=openapi.plain("ok"),
    )
    async def healthy() -> str:
        return "ok"

    @app.get(
        "/readyz",
        summary="Whether the models of the replica compute",
        response_class=PlainTextResponse,
        responses=openapi.plain("ok") | openapi.problems(503),
    )
    async def ready() -> str:
        try:
            models.check()
        except Stuck as error:
            raise Problem(503, str(error)) from error
        return "ok"

    @app.get(
        "/metrics",
        summary="Prometheus metrics of the replica that answers",
        response_class=PlainTextResponse,
        responses=openapi.plain("kogner_queue_words 0.0\n"),
    )
    async def metrics() -> Response:
        QUEUE_WORDS.set(models.n_waiting)
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")


def _refusals(app: FastAPI) -> None:
    """Every error as a problem document."""

    @app.exception_handler(Problem)
    async def refused(request: Request, problem: Problem) -> Response:
        REFUSED.labels(problem.limit or str(problem.status)).inc()
        return problem.response(request.state.request_id)

    @app.exception_handler(ConfigError)
    async def unusable(request: Request, error: ConfigError) -> Response:
        return await refused(request, Problem(422, str(error)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
        return await refused(request, Problem(422, said))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        response = await refused(request, Problem(error.status_code, str(error.detail)))
        response.headers.update(error.headers or {})
        return response
