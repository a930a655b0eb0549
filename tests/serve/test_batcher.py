"""Batches of words: everyone is served in turn, refusals are early, a failure is its own request's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from kogner_ray.errors import ConfigError
from kogner_ray.serve.batcher import Batcher, Tagged
from kogner_ray.serve.problems import Problem
from kogner_ray.tagger import TaggedEntity
from kogner_ray.tagging import TagRequest


class Recorder:
    """Answers with the texts, once it may; remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[str, ...]]] = []
        self.may = threading.Event()

    def __call__(self, requests: Sequence[TagRequest]) -> list[Tagged]:
        assert self.may.wait(20)
        self.batches.append([tuple(request.texts) for request in requests])
        if any("wrong" in request.texts for request in requests):
            raise ConfigError("wrong")
        return [[[TaggedEntity(0, len(text), text, "T", 1.0)] for text in request.texts] for request in requests]


def batcher(tag: Recorder, *, max_batch: int = 8, max_queue: int = 100, max_types: int = 10) -> Batcher:
    return Batcher(tag, max_batch=max_batch, max_queue=max_queue, max_types=max_types)


def texts_of(tagged: Tagged) -> list[str]:
    return [own[0].text for own in tagged]


async def ask(batches: Batcher, texts: list[str], *, n_words: int = 1, n_types: int = 1) -> list[str]:
    return texts_of(await batches.tag(TagRequest(texts), [n_words] * len(texts), n_types))


def test_everyone_gets_their_own_in_order() -> None:
    async def run() -> None:
        tag = Recorder()
        tag.may.set()
        batches = batcher(tag, max_queue=1000)
        asked = [[f"{caller}-{i}" for i in range(caller)] for caller in range(1, 30)]
        assert await asyncio.gather(*(ask(batches, texts) for texts in asked)) == asked
        assert all(sum(map(len, batch)) <= 8 for batch in tag.batches)
        assert max(map(len, tag.batches)) > 1
        assert batches.n_waiting == 0

    asyncio.run(run())


def test_a_small_request_does_not_wait_for_a_large_one() -> None:
    async def run() -> None:
        tag = Recorder()
        batches = batcher(tag)
        large = asyncio.create_task(ask(batches, [f"large-{i}" for i in range(60)]))
        await asyncio.sleep(0.05)
        small = asyncio.create_task(ask(batches, ["small"]))
        await asyncio.sleep(0.05)
        tag.may.set()
        await small
        assert not large.done()
        assert ("small",) in tag.batches[1]
        await large

    asyncio.run(run())


def test_what_may_not_wait_is_refused_at_once() -> None:
    async def run() -> None:
        tag = Recorder()
        batches = batcher(tag, max_queue=20)
        waiting = [asyncio.create_task(ask(batches, ["a"] * 10)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Problem, match="max_queue") as refused:
            await ask(batches, ["b"] * 10)
        assert refused.value.status == 429
        assert refused.value.retry_after_s is not None
        tag.may.set()
        await asyncio.gather(*waiting)

    asyncio.run(run())


def test_a_small_request_is_taken_beside_a_large_one_and_another_large_one_is_not() -> None:
    async def run() -> None:
        tag = Recorder()
        batches = batcher(tag, max_queue=20)
        large = asyncio.create_task(ask(batches, ["a"] * 50))
        await asyncio.sleep(0.05)
        small = asyncio.create_task(ask(batches, ["b"] * 4))
        await asyncio.sleep(0.05)
        with pytest.raises(Problem, match="max_queue"):
            await ask(batches, ["c"] * 50)
        tag.may.set()
        assert await small == ["b"] * 4
        assert await large == ["a"] * 50

    asyncio.run(run())


def test_who_has_gone_is_not_served() -> None:
    async def run() -> None:
        tag = Recorder()
        batches = batcher(tag)
        gone = asyncio.create_task(ask(batches, [f"gone-{i}" for i in range(60)]))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0.05)
        assert batches.n_waiting == 0
        tag.may.set()
        assert await ask(batches, ["next"]) == ["next"]
        assert sum(len(part) for batch in tag.batches for part in batch) < 20

    asyncio.run(run())


def test_a_failure_is_its_own_requests() -> None:
    async def run() -> None:
        tag = Recorder()
        batches = batcher(tag)
        first = asyncio.create_task(ask(batches, ["first"]))
        await asyncio.sleep(0.05)
        together = [asyncio.create_task(ask(batches, [text])) for text in ("good", "wrong", "fine")]
        await asyncio.sleep(0.05)
        tag.may.set()
        found = await asyncio.gather(first, *together, return_exceptions=True)
        assert found[0] == ["first"]
        assert found[1] == ["good"]
        assert isinstance(found[2], ConfigError)
        assert found[3] == ["fine"]

    asyncio.run(run())


def test_many_types_are_not_put_together() -> None:
    async def run() -> None:
        tag = Recorder()
        batches = batcher(tag, max_types=10)
        first = asyncio.create_task(ask(batches, ["first"]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(ask(batches, [f"t{i}"], n_types=6)) for i in range(3)]
        await asyncio.sleep(0.05)
        tag.may.set()
        await asyncio.gather(first, *others)
        assert [len(batch) for batch in tag.batches] == [1, 1, 1, 1]

    asyncio.run(run())


def test_no_texts_no_batch() -> None:
    tag = Recorder()
    assert asyncio.run(ask(batcher(tag), [])) == []
    assert tag.batches == []
