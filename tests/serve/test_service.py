"""The service on Ray Serve, as users start it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
from processes import end_all_in, wait_until
from small_corpus import make_documents

from kogner_ray.data.formats.registry import write_documents
from kogner_ray.tagger import Tagger

TEXTS = [document.text for document in make_documents(6, seed=2)]


def test_it_answers_what_the_tagger_finds(service: str, tiny_checkpoint: Path) -> None:
    answer = httpx.post(f"{service}/v1/tag", json={"texts": TEXTS}, timeout=60)
    assert answer.status_code == 200
    found = [
        [(e["start"], e["end"], e["type"], e["kg_id"]) for e in own["entities"]] for own in answer.json()["results"]
    ]
    expected = Tagger.load(tiny_checkpoint).tag(TEXTS)
    assert found == [[(e.start, e.end, e.type, e.kg_id) for e in own] for own in expected]


def test_streams_and_refuses_as_problems(service: str) -> None:
    with httpx.stream("POST", f"{service}/v1/tag/stream", json={"texts": TEXTS}, timeout=60) as answer:
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert lines[-1] == {"done": len(TEXTS)}
    refused = httpx.post(f"{service}/v1/tag", json={"texts": 1})
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


def test_it_listens_on_this_machine_alone(service: str) -> None:
    port = int(service.rpartition(":")[2])
    assert listening(port) == {"127.0.0.1"}


def listening(port: int) -> set[str]:
    """Addresses of this machine on which something listens at `port`."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, _, number = local.partition(":")
        if state == "0A" and int(number, 16) == port:
            found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


def test_serve_run_takes_arguments(tiny_checkpoint: Path, ray_folder: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_TMPDIR": str(ray_folder)}
    command = [str(Path(sys.executable).with_name("serve")), "run", "kogner_ray.serve:app", "--address", "local"]
    command += [f"model={tiny_checkpoint}", "max_texts=3", "cpus=0.5"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        ready = wait_until(lambda: process.poll() is not None or _ready(8000), seconds=120)
        assert ready and process.poll() is None, (tmp_path / "log").read_text()
        refused = httpx.post("http://127.0.0.1:8000/v1/tag", json={"texts": ["x"] * 4}, timeout=60)
        assert refused.json()["limit"] == "max_texts"
        assert listening(8000) == {"127.0.0.1"}
    finally:
        process.terminate()
        process.wait(60)
        end_all_in(ray_folder)


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=60).status_code == 200
    except httpx.HTTPError:
        return False


def test_kogner_serve_and_client(tiny_checkpoint: Path, ray_folder: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_TMPDIR": str(ray_folder)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kogner = [sys.executable, "-m", "kogner_ray.cli"]
    command = [*kogner, "serve", "--model", str(tiny_checkpoint), "--port", str(port), "--set", "cpus=0.5"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        ready = wait_until(lambda: process.poll() is not None or _ready(port), seconds=120)
        assert ready and process.poll() is None, (tmp_path / "log").read_text()
        assert listening(port) == {"127.0.0.1"}
        write_documents(make_documents(70, seed=2), tmp_path / "in.jsonl")
        asked = [*kogner, "client", str(tmp_path / "in.jsonl"), "--address", f"http://127.0.0.1:{port}"]
        lines = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
        expected = Tagger.load(tiny_checkpoint).tag([document.text for document in make_documents(70, seed=2)])
        found = [[(e["start"], e["end"], e["type"]) for e in json.loads(line)["entities"]] for line in lines]
        assert found == [[(e.start, e.end, e.type) for e in own] for own in expected]
    finally:
        process.terminate()
        process.wait(60)
        end_all_in(ray_folder)
    assert process.returncode == 0
