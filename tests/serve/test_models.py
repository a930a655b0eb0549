"""Models come when they are asked for and go when others are, with their threads, and without failing who waits."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Replica
from processes import wait_until
from small_corpus import make_documents

from kogner_ray.errors import KognerError
from kogner_ray.serve.batcher import Tagged
from kogner_ray.serve.models import Model, Models, Stuck, latest
from kogner_ray.serve.settings import ServeConfig
from kogner_ray.tagging import TagRequest

TEXTS = [document.text for document in make_documents(20, seed=8)]


def n_threads() -> int:
    """Those that compute for models."""
    gc.collect()
    return sum(thread.name.startswith("tag") for thread in threading.enumerate())


def hold(model: Model, may: threading.Event) -> None:
    """Let the model compute when it may."""
    tag = model.batcher._tag

    def held(requests: Sequence[TagRequest]) -> list[Tagged]:
        assert may.wait(20)
        return tag(requests)

    model.batcher._tag = held


def loaded(models: Models) -> set[str]:
    return {known["name"] for known in models.describe() if known["types"]}


def test_a_model_that_is_given_up_answers_who_waits_and_ends(tiny_checkpoint: Path) -> None:
    config = ServeConfig(model=str(tiny_checkpoint), models={"b": str(tiny_checkpoint)}, models_in_memory=1)
    before = n_threads()

    async def run() -> None:
        models, may = Models(config), threading.Event()
        model = await models.get(None)
        hold(model, may)
        waiting = asyncio.create_task(model.batcher.tag(TagRequest(TEXTS), [10] * len(TEXTS), 2))
        await asyncio.sleep(0.05)
        del model
        assert (await models.get("b")).name == "b"
        assert n_threads() == before + 1, "what runs still needs its thread"
        may.set()
        assert sum(map(len, await waiting)) > 0
        del waiting
        await asyncio.sleep(0.05)
        assert loaded(models) == {"b"}

    asyncio.run(run())
    assert wait_until(lambda: n_threads() == before, seconds=5)


def test_a_model_is_loaded_once_and_the_oldest_goes() -> None:
    asked: list[str] = []

    async def load(name: str) -> Any:
        asked.append(name)
        await asyncio.sleep(0.01)
        if name == "broken":
            raise KognerError("broken")
        return name

    async def run() -> None:
        get: Callable[[str], Any] = latest(2)(load)
        await asyncio.gather(*(get("a") for _ in range(5)))
        await get("b")
        await get("a")
        with pytest.raises(KognerError):
            await get("broken")
        await asyncio.gather(get("a"), get("b"), get("c"), get("a"))
        await get("a")
        await get("b")

    asyncio.run(run())
    assert asked == ["a", "b", "broken", "c", "b"]


def test_a_stuck_model_is_unhealthy(tiny_checkpoint: Path) -> None:
    config = ServeConfig(model=str(tiny_checkpoint), stuck_s=0.2)

    async def run() -> None:
        models, may = Models(config), threading.Event()
        model: Model = await models.get(None)
        hold(model, may)
        waiting = asyncio.create_task(model.batcher.tag(TagRequest(TEXTS), [10] * len(TEXTS), 2))
        await asyncio.sleep(0.05)
        models.check()
        await asyncio.sleep(0.3)
        with pytest.raises(Stuck, match="default: a batch takes"):
            models.check()
        may.set()
        await waiting
        models.check()

    asyncio.run(run())


def test_models_in_turn_over_http(replica: Replica, tiny_checkpoint: Path) -> None:
    others = {name: str(tiny_checkpoint) for name in ("b", "c")}
    client, found = replica(models=others, models_in_memory=1), []

    def ask(name: str) -> None:
        for _ in range(2):
            answer = client.post("/v1/tag", json={"texts": TEXTS[:2], "model": name})
            found.append((answer.status_code, answer.json()["model"] == name))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("default", "b", "c")]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(200, True)] * 6
    assert time.monotonic() - started < 60
