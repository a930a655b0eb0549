"""A replica over a real socket: answers are the Tagger's, limits are named, nobody is kept waiting by others."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Replica, running
from small_corpus import make_documents

from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.serve.gate import API_KEYS
from kogner_ray.serve.models import Models
from kogner_ray.serve.settings import ServeConfig
from kogner_ray.tagger import Tagger

TEXTS = [document.text for document in make_documents(12, seed=4)]
PUBTATOR = {"Content-Type": "application/vnd.pubtator"}


@pytest.fixture(scope="module")
def tagger(tiny_checkpoint: Path) -> Tagger:
    return Tagger.load(tiny_checkpoint)


def same(found: Any, expected: Any) -> bool:
    """The same but for the last digits of scores, which depend on who shares a batch."""
    for mine, its in zip(found, expected, strict=True):
        for a, b in zip(mine["entities"], its, strict=True):
            if a | {"score": 0, "link_score": 0} != asdict(b) | {"score": 0, "link_score": 0}:
                return False
            if abs(a["score"] - b.score) > 1e-5 or abs((a["link_score"] or 0) - (b.link_score or 0)) > 1e-5:
                return False
    return True


class TestAnswers:
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"threshold": 0.1, "nested": True},
            {"types": ["Disease"], "link": False},
            {"types": {"Ill": "disease", "Other": "x"}, "threshold": 0.2, "multi_label": True},
            {"per_type_thresholds": {"Disease": 0.999}},
        ],
    )
    def test_are_the_taggers(self, replica: Replica, tagger: Tagger, settings: dict[str, Any]) -> None:
        answer = replica().post("/v1/tag", json={"texts": TEXTS, **settings})
        assert answer.status_code == 200
        assert answer.json()["model"] == "default"
        assert same(answer.json()["results"], tagger.tag(TEXTS, **settings))

    def test_of_many_callers_at_once_are_each_ones_own(self, replica: Replica, tagger: Tagger) -> None:
        address, failures = replica().base_url, []

        def call(number: int) -> None:
            texts = [document.text for document in make_documents(1 + number % 5, seed=number)]
            types = [["Disease"], ["Chemical"], ["Disease", "Chemical"], {"T": f"label {number}"}][number % 4]
            answer = httpx.post(f"{address}/v1/tag", json={"texts": texts, "types": types}, timeout=60)
            if answer.status_code != 200 or not same(answer.json()["results"], tagger.tag(texts, types)):
                failures.append(number)

        callers = [threading.Thread(target=call, args=(number,)) for number in range(24)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert failures == []

    def test_offsets_count_code_points(self, replica: Replica) -> None:
        text = "😀 é " + TEXTS[0]
        for entity in replica().post("/v1/tag", json={"texts": [text]}).json()["results"][0]["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"]

    def test_stream_a_line_a_text(self, replica: Replica, tagger: Tagger) -> None:
        texts = TEXTS * 20
        with replica().stream("POST", "/v1/tag/stream", json={"texts": texts}) as answer:
            lines = [json.loads(line) for line in answer.iter_lines()]
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert lines.pop() == {"done": len(texts)}
        lines.sort(key=lambda line: line["index"])
        assert [line["index"] for line in lines] == list(range(len(texts)))
        assert same(lines, tagger.tag(texts))

    @pytest.mark.parametrize(
        ("format", "media_type"),
        [
            ("pubtator", "application/vnd.pubtator"),
            ("bioc_json", "application/vnd.bioc+json"),
            ("bioc_xml", "application/vnd.bioc+xml"),
        ],
    )
    def test_documents_come_back_in_their_format(
        self, replica: Replica, tagger: Tagger, tmp_path: Path, format: str, media_type: str
    ) -> None:
        documents = make_documents(5, seed=8)
        write_documents(documents, tmp_path / "in", format, strict=False)
        query = {"threshold": "0.3", "types": "Disease, Chemical"}
        body, headers = (tmp_path / "in").read_bytes(), {"Content-Type": media_type}
        answer = replica().post("/v1/tag", content=body, headers=headers, params=query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith(media_type)
        (tmp_path / "out").write_bytes(answer.content)
        read, back = (list(read_documents(tmp_path / name, format)) for name in ("in", "out"))
        assert [d.text for d in back] == [d.text for d in read]
        expected = tagger.tag([d.text for d in read], ["Disease", "Chemical"], threshold=0.3)
        found = [[(e.start, e.end, e.type, e.concepts) for e in d.entities] for d in back]
        assert found == [[(e.start, e.end, e.type, (e.kg_id,) if e.kg_id else ()) for e in own] for own in expected]
        as_json = replica().post(
            "/v1/tag", content=body, headers=headers | {"Accept": "application/json"}, params=query
        )
        assert same(as_json.json()["results"], expected)

    def test_entities_of_the_kg(self, replica: Replica, tagger: Tagger) -> None:
        assert tagger.entities is not None
        for row in tagger.entities.to_pylist()[:5]:
            entry = replica().get(f"/v1/entities/{row['id']}").json()
            assert {name: entry[name] for name in ("id", "name", "type")} == {k: row[k] for k in ("id", "name", "type")}
            assert entry["synonyms"] == row["synonyms"]

    def test_models(self, replica: Replica, tiny_checkpoint: Path, tagger: Tagger) -> None:
        client = replica(models={"other": str(tiny_checkpoint), "third": str(tiny_checkpoint)}, models_in_memory=2)
        for name in ("other", "third", "default", "other"):
            answer = client.post("/v1/tag", json={"texts": TEXTS[:2], "model": name}).json()
            assert answer["model"] == name
            assert same(answer["results"], tagger.tag(TEXTS[:2]))
        models = client.get("/v1/models").json()["models"]
        assert [model["name"] for model in models] == ["default", "other", "third"]
        assert [bool(model["types"]) for model in models] == [True, True, False]
        assert client.post("/v1/tag", json={"texts": [], "model": "fourth"}).status_code == 404


class TestLimits:
    @pytest.mark.parametrize(
        ("status", "limit", "body"),
        [
            (413, "max_body", {"texts": ["x" * 5000]}),
            (422, "max_texts", {"texts": ["x"] * 11}),
            (422, "max_words", {"texts": ["fine", "x " * 51]}),
            (422, "max_types", {"texts": ["x"], "types": list("abcdef")}),
            (422, None, {"texts": "x"}),
            (422, None, {"texts": ["x"], "threshold": 2}),
            (422, None, {"texts": ["x"], "types": []}),
            (422, None, {"texts": ["x"], "types": ["a", "a"]}),
            (422, None, {"texts": ["x"], "types": [" "]}),
            (422, None, {"texts": ["x"], "per_type_thresholds": {"Unknown": 0.5}}),
            (422, None, {"texts": ["x"], "thresholds": 0.5}),
            (422, None, ["x"]),
        ],
    )
    def test_are_named(self, replica: Replica, status: int, limit: str | None, body: Any) -> None:
        client = replica(max_body=4000, max_texts=10, max_words=50, max_types=5)
        for path in ("/v1/tag", "/v1/tag/stream"):
            answer = client.post(path, json=body)
            if answer.status_code == 200:  # a stream has begun before a label is read
                problem = json.loads(answer.text.splitlines()[-1])["error"]
            else:
                assert answer.headers["content-type"] == "application/problem+json"
                problem = answer.json()
            assert (problem["status"], problem.get("limit")) == (status, limit), problem
            assert problem["request_id"] == answer.headers["x-request-id"]
            if limit:
                assert problem["got"] > problem["maximum"]
                assert limit in problem["detail"]
        assert client.post("/v1/tag", json={"texts": ["x"]}).status_code == 200

    def test_of_the_body_hold_without_a_length(self, replica: Replica) -> None:
        def chunks() -> Iterator[bytes]:
            yield from (b"x" * 1000 for _ in range(10))

        answer = replica(max_body=4000, max_texts=10, max_words=50, max_types=5).post("/v1/tag", content=chunks())
        assert (answer.status_code, answer.json()["limit"]) == (413, "max_body")

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"texts": ["\\ud800"]}', b"nan", b"[" * 100_000])
    def test_bad_json_is_the_callers_mistake(self, replica: Replica, body: bytes) -> None:
        answer = replica().post("/v1/tag", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        assert answer.headers["content-type"] == "application/problem+json"

    def test_media_types(self, replica: Replica) -> None:
        client = replica()
        assert client.post("/v1/tag", content=b"x", headers={"Content-Type": "text/csv"}).status_code == 415
        assert client.post("/v1/tag", json={"texts": []}, headers={"Accept": "image/png"}).status_code == 406
        bad = client.post("/v1/tag", content=b"1|t|Title\nnonsense\n", headers=PUBTATOR)
        assert bad.status_code == 422
        assert "body:2" in bad.json()["detail"]
        query = client.post("/v1/tag?treshold=1", content=b"1|t|Title\n1|a|\n\n", headers=PUBTATOR)
        assert query.status_code == 422
        assert client.get("/v1/tag").status_code == 405
        assert client.get("/v1/entities/none").status_code == 404

    def test_of_waiting_words_and_of_time(self, replica: Replica) -> None:
        client = replica(max_queue=2000, deadline_s=0.5, max_batch=500)
        address, answers = client.base_url, []

        def call() -> None:
            body = {"texts": ["word " * 400] * 400}  # more than half a second's work; two of them wait too long
            answers.append(httpx.post(f"{address}/v1/tag", json=body, timeout=60))

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        limits = {(answer.status_code, answer.json().get("limit")) for answer in answers}
        assert limits <= {(429, "max_queue"), (503, "deadline_s")}
        assert len(limits) == 2
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert client.post("/v1/tag", json={"texts": ["x"]}).status_code == 200

    def test_of_waiting_words_are_told_before_the_body_is_read(self, replica: Replica) -> None:
        client = replica(max_queue=2000, max_batch=500)
        large = json.dumps({"texts": ["word " * 400] * 1000})
        head = "POST /v1/tag HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
        with ExitStack() as stack:
            waiting, late = (
                stack.enter_context(socket.create_connection((client.base_url.host, client.base_url.port), timeout=10))
                for _ in range(2)
            )
            waiting.sendall(f"{head}{len(large)}\r\n\r\n{large}".encode())
            while "kogner_queue_words 0.0" in client.get("/metrics").text:
                time.sleep(0.01)
            late.sendall(f"{head}{len(large)}\r\n\r\n".encode())  # and nothing more
            assert late.recv(12) == b"HTTP/1.1 429"

    @pytest.mark.parametrize("path", ["/v1/tag", "/v1/tag/stream"])
    def test_of_time_hold_of_a_body_that_does_not_come(self, replica: Replica, path: str) -> None:
        client = replica(max_queue=2000, deadline_s=0.5, max_batch=500)
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as slow:
            slow.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode())
            assert slow.recv(12) == b"HTTP/1.1 503"

    @pytest.mark.parametrize("path", ["/v1/tag", "/v1/tag/stream"])
    def test_who_has_gone_is_not_served(self, replica: Replica, path: str) -> None:
        client = replica(max_batch=500)
        body = json.dumps({"texts": ["word " * 400] * 500}).encode()
        with socket.create_connection((client.base_url.host, client.base_url.port)) as caller:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            caller.sendall(f"{head}\r\n\r\n".encode() + body)
            while "kogner_queue_words 0.0" in client.get("/metrics").text:
                time.sleep(0.01)
        deadline = time.monotonic() + 10
        while "kogner_queue_words 0.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline, "it goes on for nobody"
            time.sleep(0.1)


def test_the_event_loop_is_free_while_thousands_of_documents_are_tagged(replica: Replica) -> None:
    client = replica(max_words=2000, cpus=1)
    body = {"texts": [" ".join(TEXTS)] * 2000}
    address, status = client.base_url, []

    def call() -> None:
        status.append(httpx.post(f"{address}/v1/tag", json=body, timeout=300).status_code)

    caller = threading.Thread(target=call)
    caller.start()
    waits = []
    while caller.is_alive():
        started = time.perf_counter()
        assert client.get("/healthz").text == "ok"
        waits.append(time.perf_counter() - started)
        time.sleep(0.02)
    assert status == [200]
    assert len(waits) > 20
    assert sorted(waits)[int(0.98 * len(waits))] < 0.1, f"longest {max(waits):.3f} s"


def test_api_keys(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEYS, "first-key, second-key")
    client = replica(max_types=77)
    tries = {"": 401, "first-key": 401, "Bearer wrong": 401, "Bearer second-key": 200, "bearer first-key": 200}
    for given, status in tries.items():
        headers = {"Authorization": given} if given else {}
        assert client.post("/v1/tag", json={"texts": []}, headers=headers).status_code == status
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/models").status_code == 401


def test_under_a_path_of_others(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEYS, "first-key")
    with running(ServeConfig(model=str(tiny_checkpoint)), root_path="/ner") as address:
        assert httpx.get(f"{address}/healthz").text == "ok"
        assert httpx.post(f"{address}/v1/tag", json={"texts": []}).status_code == 401
        assert 'path="/healthz"' in httpx.get(f"{address}/metrics").text


def test_headers_ids_and_logs(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    client = replica()
    with caplog.at_level(logging.INFO, logger="kogner_ray.serve"):
        answer = client.post("/v1/tag", json={"texts": ["a secret"]}, headers={"X-Request-Id": "mine-1"})
        odd = client.post("/v1/tag", json={"texts": []}, headers={"X-Request-Id": "no such\tid"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert odd.headers["x-request-id"] != "no such\tid"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    lines = {line["request_id"]: line for line in map(json.loads, caplog.messages)}
    assert lines["mine-1"] | {"ms": 0} == {
        "request_id": "mine-1",
        "method": "POST",
        "path": "/v1/tag",
        "status": 200,
        "ms": 0,
    }
    assert "secret" not in caplog.text


@pytest.mark.parametrize("asked", [False, True])
def test_texts_are_in_the_log_only_where_that_is_asked(
    replica: Replica, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    client, texts = replica(log_texts=asked), ["a secret", "é and another secret"]
    with caplog.at_level(logging.INFO, logger="kogner_ray.serve"):
        client.post("/v1/tag", json={"texts": texts}, headers={"X-Request-Id": "json"})
        client.post("/v1/tag/stream", json={"texts": texts}, headers={"X-Request-Id": "stream"})
        client.post("/v1/tag", content="1|t|a secret\n", headers=PUBTATOR | {"X-Request-Id": "pubtator"})
        client.post("/v1/tag", json={"texts": ["secret"], "threshold": "secret"})
        client.get("/healthz", headers={"X-Request-Id": "none"})
    lines = {line["request_id"]: line for line in map(json.loads, caplog.messages)}
    if asked:
        assert [lines[name]["texts"] for name in ("json", "stream", "pubtator")] == [texts, texts, ["a secret"]]
        assert "texts" not in lines["none"]
    else:
        assert "secret" not in caplog.text
        assert not any("texts" in line for line in lines.values())


@pytest.mark.parametrize("asked", [False, True])
def test_an_error_of_ours_is_a_problem_and_quotes_nobody(
    tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], asked: bool
) -> None:
    config = ServeConfig(model=str(tiny_checkpoint), log_texts=asked)
    models = Models(config)

    def fails(requests: Any) -> Any:
        raise RuntimeError(f"cannot tag {requests[0].texts}")

    with running(config, models) as address:
        asyncio.run(models.get(None)).batcher._tag = fails
        answer = httpx.post(f"{address}/v1/tag", json={"texts": ["a secret"]})
        streamed = httpx.post(f"{address}/v1/tag/stream", json={"texts": ["a secret"]})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem = json.loads(streamed.text.splitlines()[-1])["error"]
    assert (streamed.status_code, problem["status"]) == (200, 500)
    failures = [line for line in map(json.loads, caplog.messages) if "error" in line]
    assert [line["request_id"] for line in failures] == [answer.headers["x-request-id"], problem["request_id"]]
    assert ["a secret" in line.get("says", "") for line in failures] == [asked, asked]
    assert "secret" not in "".join(capfd.readouterr()) + answer.text + streamed.text


def test_metrics_and_readiness(replica: Replica) -> None:
    client = replica()
    assert client.get("/readyz").text == "ok"
    before = _metric(client, "kogner_words_total")
    client.post("/v1/tag", json={"texts": ["one two three", "four"]})
    assert _metric(client, "kogner_words_total") == before + 4


def _metric(client: httpx.Client, name: str) -> float:
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].split()[-1])
