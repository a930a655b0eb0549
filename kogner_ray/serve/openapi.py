"""The OpenAPI document: what FastAPI cannot read from the code, with examples."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from kogner_ray.serve.bodies import AnswerBody, ProblemBody, Settings, TagBody
from kogner_ray.serve.documents import FORMATS, JSON
from kogner_ray.serve.problems import MEDIA_TYPE, TITLES
from kogner_ray.serve.settings import ServeConfig

NDJSON = "application/x-ndjson"
_SCHEMAS = "#/components/schemas/{model}"
_KEY = "ApiKey"
_PUBTATOR = "1|t|Metformin in type 2 diabetes.\n1|a|It was given to 40 patients.\n\n"
_BIOC_XML = (
    "<collection><source/><date/><key/><document><id>1</id><passage><offset>0</offset>"
    "<text>Metformin in type 2 diabetes.</text></passage></document></collection>"
)
_BIOC_JSON = {"documents": [{"id": "1", "passages": [{"offset": 0, "text": "Metformin in type 2 diabetes."}]}]}
_DOCUMENTS: dict[str, dict[str, Any]] = {
    "application/vnd.pubtator": {"schema": {"type": "string"}, "example": _PUBTATOR},
    "application/vnd.bioc+json": {
        "schema": {"type": "object", "required": ["documents"], "properties": {"documents": {"type": "array"}}},
        "example": _BIOC_JSON,
    },
    "application/vnd.bioc+xml": {"schema": {"type": "string"}, "example": _BIOC_XML},
}
_ENTITY = {"start": 0, "end": 9, "text": "Metformin", "type": "Chemical", "score": 0.97}
_LINK = {"kg_id": "MESH:D008687", "kg_name": "Metformin", "link_score": 0.81}
_ANSWER = {"model": "default", "results": [{"entities": [_ENTITY | _LINK]}]}
_LINES = '{"index": 0, "entities": []}\n{"done": 1}\n'
_ID = {"X-Request-Id": {"description": "as the log has it", "schema": {"type": "string"}}}
_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}
assert _DOCUMENTS.keys() == FORMATS.keys()


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Refusals with these statuses, for FastAPI's `responses`."""
    return {code: _problem(code) for code in codes}


def _problem(code: int) -> dict[str, Any]:
    example = {"type": "about:blank", "title": TITLES[code], "status": code, "detail": "...", "request_id": "4f2a"}
    return {
        "description": TITLES[code],
        "headers": _ID | (_AFTER if code in (429, 503) else {}),
        "content": {MEDIA_TYPE: {"schema": _reference("ProblemBody"), "example": example}},
    }


def asks(*, documents: bool) -> dict[str, Any]:
    """Body and query parameters of what tags, for FastAPI's `openapi_extra`; `documents`: also in their formats."""
    content = {JSON: {"schema": _reference("TagBody")}} | (_DOCUMENTS if documents else {})
    return {"requestBody": {"required": True, "content": content}, "parameters": list(_query())}


def tagged() -> dict[int | str, dict[str, Any]]:
    """The answer of `/v1/tag`, for FastAPI's `responses`."""
    content = {JSON: {"schema": _reference("AnswerBody"), "example": _ANSWER}} | _DOCUMENTS
    return {200: {"description": "entities; of documents also in their formats", "headers": _ID, "content": content}}


def streamed() -> dict[int | str, dict[str, Any]]:
    """The answer of `/v1/tag/stream`, for FastAPI's `responses`."""
    content = {NDJSON: {"schema": {"type": "string"}, "example": _LINES}}
    return {200: {"description": "a line a text, the last one `done` or `error`", "headers": _ID, "content": content}}


def plain(example: str) -> dict[int | str, dict[str, Any]]:
    """An answer in plain text, for FastAPI's `responses`."""
    content = {"text/plain": {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": "text", "headers": _ID, "content": content}}


def describe(app: FastAPI, config: ServeConfig, *, guarded: bool) -> dict[str, Any]:
    """The document of an application; `guarded`: API keys are asked for."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (TagBody, AnswerBody, ProblemBody):
        schema = model.model_json_schema(ref_template=_SCHEMAS)
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    asked = schemas["TagBody"]["properties"]
    asked["texts"]["maxItems"] = config.max_texts
    asked["types"]["anyOf"][0]["maxItems"] = asked["types"]["anyOf"][1]["maxProperties"] = config.max_types
    components["securitySchemes"] = {_KEY: {"type": "http", "scheme": "bearer", "description": "an API key"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if not path.startswith("/v1/") else [{_KEY: []}] if guarded else [{_KEY: []}, {}]
    return document


def _reference(model: str) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(model=model)}


def _query() -> list[dict[str, Any]]:
    """Parameters as `Settings` has them; types by commas."""
    found = []
    for name, field in Settings.model_json_schema()["properties"].items():
        kinds = field.get("anyOf", [field])
        schema = {key: value for key, value in kinds[0].items() if key not in ("default", "description", "title")}
        own: dict[str, Any] = {"schema": schema}
        if schema["type"] == "array":
            items = schema["items"] | {"pattern": r"^[^,]*[^,\s\x1c-\x1f\x85\uFEFF][^,]*$"}
            own = {"schema": schema | {"items": items}, "style": "form", "explode": False, "example": ["Disease"]}
        said = f"{field['description']}; what a JSON body says itself goes first"
        found.append({"name": name, "in": "query", "description": said, **own})
    return found
