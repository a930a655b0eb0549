"""The OpenAPI document is true: schemathesis holds a replica on a socket against it, with all of its checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Replica
from contract_hooks import ENTITY

from kogner_ray.serve.gate import API_KEYS
from kogner_ray.tagger import Tagger

EXAMPLES = 25


def schemathesis(address: str, entity: str, folder: Path, *arguments: str) -> str:
    """What it says of a replica, once it has found nothing."""
    modules = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    hooks = {"SCHEMATHESIS_HOOKS": "contract_hooks", "PYTHONPATH": modules, ENTITY: entity}
    settings = ["--checks", "all", "--seed", "1", "-n", str(EXAMPLES), "--generation-database", "none", "--no-color"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", *settings, *arguments],
        cwd=folder,  # it keeps what it found beside it
        env=os.environ | hooks,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def entity(tiny_checkpoint: Path) -> str:
    entities = Tagger.load(tiny_checkpoint).entities
    assert entities is not None
    return str(entities["id"][0].as_py())


@pytest.mark.parametrize("key", [None, "a-key"])
def test_answers_are_as_documented(
    replica: Replica, entity: str, key: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if key is not None:
        monkeypatch.setenv(API_KEYS, key)
    client = replica(max_types=1000 if key is None else 999)
    given = [] if key is None else ["-H", f"Authorization: Bearer {key}"]
    said = schemathesis(str(client.base_url).rstrip("/"), entity, tmp_path, *given)
    assert "Operations:       7 selected / 7 total" in said
    assert "No issues found" in said


def test_examples_are_answered(replica: Replica) -> None:
    client = replica()
    document = client.get("/openapi.json").json()
    for path in ("/v1/tag", "/v1/tag/stream"):
        body = document["paths"][path]["post"]["requestBody"]["content"]
        for media_type, content in body.items():
            for example in _examples(document, content):
                answer = _send(client, path, media_type, example)
                assert answer.status_code == 200, (media_type, answer.text)
                assert "default" in answer.text or media_type in answer.headers["content-type"] or path != "/v1/tag"


def test_every_operation_has_examples_of_its_answers(replica: Replica) -> None:
    document = replica().get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                for media_type, content in response["content"].items():
                    assert list(_examples(document, content)), (path, status, media_type)


def test_there_is_no_page_that_needs_another_host(replica: Replica) -> None:
    assert replica().get("/docs").status_code == 404


def test_a_replica_says_whether_it_asks_for_keys(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    free = replica().get("/openapi.json").json()["paths"]
    monkeypatch.setenv(API_KEYS, "a-key")
    client = replica(max_types=998)
    guarded = client.get("/openapi.json").json()["paths"]
    assert free["/v1/tag"]["post"]["security"] == [{"ApiKey": []}, {}]
    assert guarded["/v1/tag"]["post"]["security"] == [{"ApiKey": []}]
    assert guarded["/healthz"]["get"]["security"] == []
    assert client.get("/v1/models").headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("query", ["threshold=2", "treshold=0.5", "nested=x", "threshold=0.1&threshold=0.2", "types="])
def test_queries_are_held_against_the_document_whatever_the_body(replica: Replica, query: str) -> None:
    for media_type, body in (("application/json", b'{"texts": []}'), ("application/vnd.pubtator", b"1|t|x\n1|a|y\n")):
        answer = replica().post(f"/v1/tag?{query}", content=body, headers={"Content-Type": media_type})
        assert answer.status_code == 422, answer.text


def test_a_json_body_goes_before_the_query(replica: Replica) -> None:
    texts = {"texts": ["x"], "types": ["Disease"], "per_type_thresholds": {"Disease": 0.5}}
    assert replica().post("/v1/tag?types=Chemical", json=texts).status_code == 200
    assert replica().post("/v1/tag?types=Chemical", json=texts | {"types": None}).status_code == 200
    del texts["types"]
    assert replica().post("/v1/tag?types=Chemical", json=texts).status_code == 422


@pytest.mark.parametrize("value", [{"threshold": "0.5"}, {"nested": 1}, {"link": "yes"}, {"types": {"Disease": 1}}])
def test_values_have_the_types_of_the_document(replica: Replica, value: dict[str, Any]) -> None:
    assert replica().post("/v1/tag", json={"texts": [], **value}).status_code == 422


def _examples(document: dict[str, Any], content: dict[str, Any]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    schema = content["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return list(schema.get("examples", []))


def _send(client: httpx.Client, path: str, media_type: str, example: Any) -> httpx.Response:
    if isinstance(example, str):
        return client.post(path, content=example, headers={"Content-Type": media_type})
    return client.post(path, json=example, headers={"Content-Type": media_type})
