"""A request's body as a question to a model: read in the format that it came in, and held against the limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from kogner_ray.data.words import split_words
from kogner_ray.errors import ConfigError
from kogner_ray.serve.bodies import Settings, TagBody
from kogner_ray.serve.models import Model, Models
from kogner_ray.serve.problems import Problem, over
from kogner_ray.serve.settings import ServeConfig
from kogner_ray.tagging import TagRequest

_AT_ONCE = 32_768  # bytes whose reading does not hold up the event loop
Result = TypeVar("Result")


@dataclass(frozen=True)
class Question:
    """What a model is asked.

    Attributes:
        model: who is asked.
        request: texts, types and thresholds; valid for that model.
        n_words: of each text.
        n_types: types asked for.
    """

    model: Model
    request: TagRequest
    n_words: Sequence[int]
    n_types: int


async def aside(size: int, work: Callable[[], Result]) -> Result:
    """`work` on something of `size` bytes, in a thread where that takes long enough for others to notice."""
    return work() if size <= _AT_ONCE else await asyncio.to_thread(work)


async def question_of(body: TagBody, size: int, models: Models, config: ServeConfig) -> Question:
    """The question that a body of `size` bytes asks.

    Raises:
        Problem: 404 for an unknown model, 422 for what is over a limit or makes no sense to the model.
    """
    model = await models.get(body.model)
    request = body.request()
    n_words = await aside(size, lambda: _counted(request.texts, config))
    try:
        labels = request.labels(model.tagger.types)
        request.thresholds(labels)
    except ConfigError as error:
        raise Problem(422, str(error)) from error
    if len(labels) > config.max_types:
        raise over(422, "max_types", config.max_types, len(labels), "types")
    return Question(model, request, n_words, len(labels))


def settings_of(query: QueryParams) -> Settings:
    """What query parameters ask for.

    Raises:
        Problem: 422, an unknown or wrong parameter, or one that is given twice.
    """
    given: dict[str, Any] = dict(query)
    if len(query.multi_items()) > len(given):
        raise Problem(422, "query: expected each parameter once")
    if "types" in given:
        given["types"] = [name.strip() for name in given["types"].split(",")]
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise Problem(422, f"query: {_said(error)}") from error


def read_json(body: bytes, settings: Settings) -> TagBody:
    """The body of `/v1/tag`; `settings` are for what it does not say.

    Raises:
        Problem: 400, no JSON; 422, not of that form.
    """
    try:
        read = TagBody.model_validate_json(body, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        if found["type"] == "json_invalid":
            raise Problem(400, f"body: no JSON: {found['msg']}") from error
        raise Problem(422, _said(error)) from error
    return read.model_copy(
        update={name: getattr(settings, name) for name in settings.model_fields_set - read.model_fields_set}
    )


def _said(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)[:5]
    return "; ".join(f"{'.'.join(map(str, item['loc']))[:200] or 'body'}: {item['msg']}" for item in found)


def _counted(texts: Sequence[str], config: ServeConfig) -> list[int]:
    """Words of each text, within the limits."""
    if len(texts) > config.max_texts:
        raise over(422, "max_texts", config.max_texts, len(texts), "texts")
    n_words = [len(split_words(text)) for text in texts]
    for index, n in enumerate(n_words):
        if n > config.max_words:
            raise over(422, "max_words", config.max_words, n, f"words of texts[{index}]")
    return n_words
