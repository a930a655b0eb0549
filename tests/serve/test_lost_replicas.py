"""The service while a model is replaced under it, and while replicas die: nobody is left without an answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from deployments import NEVER, deploy, deployed, pids
from load import callers, places
from processes import wait_until
from small_corpus import make_checkpoint, make_documents, make_table

from kogner_ray.client import Client
from kogner_ray.serve.ingress import FAST_INGRESS
from kogner_ray.serve.settings import ServeConfig
from kogner_ray.student.checkpoint import write_checkpoint
from kogner_ray.tagger import Tagger
from kogner_ray.tagging import TagRequest

TEXTS = [document.text for document in make_documents(6, seed=3)]
SMALL = {"cpus": 0.25}


@pytest.mark.slow
def test_an_update_fails_no_request(service: str, tiny_checkpoint: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    untrained = write_checkpoint(make_checkpoint(tiny_encoder, table=make_table()), tmp_path / "new")
    request = TagRequest(TEXTS, threshold=0.005)
    old, new = (places(Tagger.load(folder).tag(TEXTS, threshold=0.005)) for folder in (tiny_checkpoint, untrained))
    assert old != new
    with (
        deployed(service, "update", ServeConfig(model=str(tiny_checkpoint), **SMALL)) as address,
        Client(address, retries=NEVER) as client,
        callers(4, lambda: places(client.tag(request))) as answers,
    ):
        answers.wait_for_more(20)
        deploy("update", ServeConfig(model=str(untrained), **SMALL))
        assert wait_until(lambda: answers.found[-1] == new, seconds=30)
        assert places(client.tag(request)) == new
        answers.wait_for_more(20)
    assert answers.failed == []
    assert all(found in (old, new) for found in answers.found)
    last_old = max(index for index, found in enumerate(answers.found) if found == old)
    assert all(found == new for found in answers.found[last_old + 5 :])


@pytest.mark.slow
def test_a_killed_replica_loses_no_answer(service: str, tiny_checkpoint: Path) -> None:
    request, expected = TagRequest(TEXTS), places(Tagger.load(tiny_checkpoint).tag(TEXTS))
    config = ServeConfig(model=str(tiny_checkpoint), min_replicas=2, max_replicas=2, **SMALL)
    with (
        deployed(service, "kill", config) as address,
        Client(address) as client,
        callers(4, lambda: places(client.tag(request))) as answers,
    ):
        answers.wait_for_more(20)
        first, second = pids("kill")
        os.kill(first, signal.SIGKILL)
        assert wait_until(lambda: len(pids("kill")) == 2 and first not in pids("kill"), seconds=60)
        answers.wait_for_more(20)
        assert second in pids("kill")
    assert answers.failed == []
    assert all(found == expected for found in answers.found)


def test_models_by_name(service: str, tiny_checkpoint: Path) -> None:
    others = {name: str(tiny_checkpoint) for name in ("b", "c")}
    others["missing"] = "/nowhere/at/all"
    expected = places(Tagger.load(tiny_checkpoint).tag(TEXTS))
    config = ServeConfig(model=str(tiny_checkpoint), models=others, models_in_memory=2, **SMALL)
    with deployed(service, "models", config) as address, Client(address, retries=NEVER) as client:
        found = []

        def ask(name: str) -> None:
            found.append(places(client.tag(TagRequest(TEXTS), model=name)) == expected)

        threads = [threading.Thread(target=ask, args=(name,)) for name in ("b", "default", "c", "c", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 5
        assert sum(bool(model["types"]) for model in client.models()) == 2
        answer = httpx.post(f"{address}/v1/tag", json={"texts": TEXTS, "model": "missing"}, timeout=60)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        ask("b")
        ask("c")
        assert found == [True] * 7
        wrong = httpx.post(
            f"{address}/v1/tag",
            json={"texts": TEXTS, "model": "b"},
            headers={"serve-multiplexed-model-id": "no such model"},
            timeout=60,
        )
        assert wrong.json()["model"] == "b", "the body says which model is meant"


def free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [one.getsockname()[1] for one in sockets]


@pytest.mark.slow
def test_a_lost_node_loses_no_answer(tiny_checkpoint: Path, ray_folder: Path) -> None:
    script = Path(__file__).with_name("lose_a_serving_node.py")
    port, metrics, stats = free_ports(3)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | FAST_INGRESS
    environment |= {"RAY_TMPDIR": str(ray_folder), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics), "RAY_SERVE_HAPROXY_STATS_PORT": str(stats)}
    environment |= {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script), str(tiny_checkpoint), str(port)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert (said["nodes"], said["failed"], said["wrong"], said["recovered"]) == (2, [], 0, True), said
