"""Callers who ask a service without a pause, and count what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from kogner_ray.tagging import TaggedEntity

Places = list[list[tuple[Any, ...]]]


def places(tagged: list[list[TaggedEntity]]) -> Places:
    """Entities without their scores, whose last digits depend on who shares a batch."""
    return [[(e.start, e.end, e.text, e.type, e.kg_id) for e in own] for own in tagged]


@dataclass
class Answers:
    """What callers got; `times` are those of all answers, in seconds of `time.monotonic`."""

    times: list[float] = field(default_factory=list)
    found: list[Places] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def wait_for_more(self, n: int, *, seconds: float = 60) -> None:
        """Return when `n` more have come."""
        wanted, end = len(self.times) + n, time.monotonic() + seconds
        while len(self.times) < wanted:
            assert time.monotonic() < end, f"{len(self.times)} answers, {self.failed[:3]}"
            time.sleep(0.02)

    @property
    def longest_gap_s(self) -> float:
        """Seconds in which nobody got an answer."""
        return max(b - a for a, b in pairwise(self.times))


@contextmanager
def callers(n: int, ask: Callable[[], Places], *, pause_s: float = 0.02) -> Iterator[Answers]:
    """`n` threads that call `ask` over and over until the end of the `with`."""
    answers, stop = Answers(), threading.Event()

    def call() -> None:
        while not stop.wait(pause_s):
            keep()

    def keep() -> None:
        try:
            answers.found.append(ask())
            answers.times.append(time.monotonic())
        except Exception as error:
            answers.failed.append(repr(error))

    threads = [threading.Thread(target=call) for _ in range(n)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
