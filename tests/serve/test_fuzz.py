"""Bodies that nobody would send: no 500, no hang, no crash; each that once did harm, by name."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Replica
from ray._common.utils import import_attr

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from serve_fuzz_requests import bases, mutated, send

from kogner_ray.serve.ingress import FAST_INGRESS

PUBTATOR, BIOC_JSON, BIOC_XML = (f"application/vnd.{name}" for name in ("pubtator", "bioc+json", "bioc+xml"))
BOMB = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
DIGITS = "9" * 5000
DEEP = f'<infon key="annotated_types">{"[" * 99_999}</infon>'


def test_mutated_requests_do_no_harm(replica: Replica) -> None:
    client, valid = replica(), bases()
    asked = {"texts": ["Metformin was given for type 2 diabetes ."], "threshold": 0.0}
    before = client.post("/v1/tag", json=asked).json()
    address = (client.base_url.host, client.base_url.port or 0)
    requests = [mutated(number, 7, valid) for number in range(300)]
    with ThreadPoolExecutor(4) as callers:
        outcomes = list(callers.map(lambda request: send(address, request), requests))
    for number, (request, outcome) in enumerate(zip(requests, outcomes, strict=True)):
        assert outcome.status in range(500), (number, request.kind, outcome)
        assert outcome.status > 0 or not request.whole, (number, request.kind, outcome)
    assert {200, 400, 415, 422} <= {outcome.status for outcome in outcomes}
    assert client.post("/v1/tag", json=asked).json() == before


def test_valid_requests_are_valid(replica: Replica) -> None:
    for base in bases():
        headers = {"Content-Type": base.media_type.decode()}
        assert replica().post(base.path.decode(), content=base.body, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (PUBTATOR, f"1|t|x\n1|a|y\n1\t{DIGITS}\t3\tx\tD\n"),
        (BIOC_JSON, f'{{"documents":[{{"id":"1","passages":[{{"offset":{DIGITS},"text":"x"}}]}}]}}'),
        (BIOC_JSON, f"[1, {DIGITS}]"),
        (BIOC_JSON, "[" * 940 + "5" + "]" * 940),
        (BIOC_XML, f"<collection><document><id>1</id>{DEEP}</document></collection>"),
        (BIOC_XML, "<collection>" + "<a>" * 99_999),
        (BIOC_XML, f'<!DOCTYPE c [<!ENTITY e0 "ha">{BOMB}]><collection><document a="&e9;"/></collection>'),
        (
            BIOC_XML,
            '<!DOCTYPE c [<!ENTITY e SYSTEM "file:///etc/passwd">]><collection><document><id>&e;</id></document></collection>',
        ),
        (BIOC_XML, '<!DOCTYPE c [<!ENTITY % p SYSTEM "http://127.0.0.1:9/">%p;]><collection/>'),
    ],
)
def test_bodies_that_did_harm_are_refused(replica: Replica, media_type: str, body: str) -> None:
    started = time.monotonic()
    for raw in (body.encode(), body.encode("utf-16")):
        answer = replica().post("/v1/tag", content=raw, headers={"Content-Type": media_type})
        assert answer.status_code == 422, answer.text[:300]
        assert "root:" not in answer.text
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("n_documents", [1, 300])
def test_offsets_do_not_fill_the_memory(replica: Replica, n_documents: int) -> None:
    far = [{"offset": n * 9_000_000, "text": "x"} for n in range(3000 if n_documents == 1 else 2)]
    body = {"documents": [{"id": str(n), "passages": far} for n in range(n_documents)]}
    answer = replica().post("/v1/tag", content=json.dumps(body), headers={"Content-Type": BIOC_JSON})
    assert answer.status_code == 422, answer.text[:300]
    assert "offset" in answer.text or answer.json()["limit"] == "max_body"


@pytest.mark.parametrize("media_type", [PUBTATOR, BIOC_JSON, BIOC_XML])
def test_packed_bodies_are_refused(replica: Replica, media_type: str) -> None:
    body = gzip.compress(b"1|t|" + b"x" * 100_000_000, 1)
    answer = replica().post("/v1/tag", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 415
    told = {"Content-Type": media_type, "Content-Encoding": "gzip"}
    assert replica().post("/v1/tag", content=body, headers=told).status_code == 415


def test_a_caller_who_leaves_within_the_body_is_no_failure(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    client = replica()
    with (
        caplog.at_level("INFO", logger="kogner_ray.serve"),
        socket.create_connection((client.base_url.host, client.base_url.port or 0)) as caller,
    ):
        caller.sendall(b"POST /v1/tag HTTP/1.1\r\nHost: x\r\nX-Request-Id: left\r\nContent-Length: 99\r\n\r\n{")
        caller.close()
        deadline = time.monotonic() + 10
        while "left" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.02)
    assert [json.loads(line)["status"] for line in caplog.messages if "left" in line] == [499]


def test_nobody_is_redirected_to_another_host(replica: Replica) -> None:
    answer = httpx.get(f"{replica().base_url}/v1/models/", headers={"Host": "elsewhere"}, follow_redirects=False)
    assert answer.status_code == 404


def test_headers_that_are_not_utf8_reach_ray_as_utf8() -> None:
    seen: list[bytes] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value for _, value in scope["headers"])

    scope = {"type": "http", "headers": [(b"x-request-id", b"\xff\xfe"), (b"accept", "é".encode())]}
    (middleware,) = import_attr(FAST_INGRESS["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"])()
    asyncio.run(middleware.cls(application)(scope, None, None))
    assert seen == ["ÿþ".encode(), "é".encode()]
