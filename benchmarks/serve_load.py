"""Load on a service from a process of its own, over loopback: closed loop (callers) or open loop (a rate).

Run by `serve_speed.py` and `serve_hold.py` with a JSON object of `Load` on stdin; prints one of `Met`.
"""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp


@dataclass(frozen=True)
class Load:
    """What is asked of a service, and how.

    Attributes:
        url: of the requests.
        bodies: file of a JSON body a line, sent in a random order over and over.
        seconds: how long.
        callers: each sends its next request when the last is answered (closed loop); 0 for the open loop.
        rate: requests a second, at random moments (Poisson), whatever comes of them.
        timeout_s: of a request.
        tries: how often a request is sent until it is answered with 200; between them a pause of 0.1 s, doubled.
        answers: file of the spans expected of each body, a line each (`spans`); "" where answers are not looked at.
        seed: of order and moments.
    """

    url: str
    bodies: str
    seconds: float
    callers: int = 0
    rate: float = 0.0
    timeout_s: float = 30.0
    tries: int = 1
    answers: str = ""
    seed: int = 0


@dataclass
class Met:
    """What came of it.

    Attributes:
        seconds: from the first request to the last answer.
        statuses: outcome -> requests: a status, `timeout`, or `broken` (reset, refused connection).
        ok_s: seconds of each request that was answered with 200, from the moment it was due.
        refused_s: seconds of each that was answered with 429 or 503.
        wrong: answers with 200 that are not the expected ones.
        retried: requests that were sent more than once.
    """

    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=collections.Counter)
    ok_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    wrong: int = 0
    retried: int = 0

    @property
    def ok(self) -> int:
        """Requests answered with 200."""
        return len(self.ok_s)

    def percentile_ms(self, percent: float) -> float:
        """Of the requests that were answered with 200."""
        ordered = sorted(self.ok_s)
        return 1000 * ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))] if ordered else float("inf")


class Caller:
    """Sends requests and keeps what came of them."""

    def __init__(self, load: Load, http: aiohttp.ClientSession) -> None:
        self._load, self._http, self.met = load, http, Met()
        self._bodies = Path(load.bodies).read_bytes().splitlines()
        self._answers = Path(load.answers).read_bytes().splitlines() if load.answers else []
        self._random = random.Random(load.seed)

    def next(self) -> int:
        """The number of a body."""
        return self._random.randrange(len(self._bodies))

    async def ask(self, number: int, due: float) -> None:
        """Send a body until it is answered or tries are used up."""
        for n_tried in range(self._load.tries):
            outcome, answer = await self._once(number)
            if outcome == "200":
                break
            if n_tried + 1 < self._load.tries:
                await asyncio.sleep(min(2.0, 0.1 * 2**n_tried))
        self.met.retried += n_tried > 0
        self.met.statuses[outcome] += 1
        seconds = time.perf_counter() - due
        if outcome == "200":
            self.met.ok_s.append(seconds)
            self.met.wrong += bool(self._answers) and spans(answer) != json.loads(self._answers[number])
        elif outcome in ("429", "503"):
            self.met.refused_s.append(seconds)

    async def _once(self, number: int) -> tuple[str, bytes]:
        headers = {"Content-Type": "application/json"}
        try:
            async with self._http.post(self._load.url, data=self._bodies[number], headers=headers) as answer:
                return str(answer.status), await answer.read()
        except asyncio.TimeoutError:
            return "timeout", b""
        except (aiohttp.ClientError, OSError):
            return "broken", b""


def spans(answer: bytes) -> list[list[list[int | str]]]:
    """Start, end and type of the entities of each text in an answer of ours; scores may differ in the last digits."""
    return [[[e["start"], e["end"], e["type"]] for e in text["entities"]] for text in json.loads(answer)["results"]]


async def _closed(load: Load, caller: Caller) -> None:
    end = time.perf_counter() + load.seconds

    async def one() -> None:
        while (now := time.perf_counter()) < end:
            await caller.ask(caller.next(), now)

    await asyncio.gather(*(one() for _ in range(load.callers)))


async def _open(load: Load, caller: Caller) -> None:
    asked = set()
    async for due in _moments(load):
        task = asyncio.ensure_future(caller.ask(caller.next(), due))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)


async def _moments(load: Load) -> AsyncIterator[float]:
    moments = random.Random(load.seed + 1)
    started = due = time.perf_counter()
    while due - started < load.seconds:
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        yield due
        due += moments.expovariate(load.rate)


async def run(load: Load) -> Met:
    """Put the load on."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=load.timeout_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        caller = Caller(load, http)
        started = time.perf_counter()
        await (_closed if load.callers else _open)(load, caller)
        caller.met.seconds = time.perf_counter() - started
        return caller.met


if __name__ == "__main__":
    gc.freeze()  # pauses of the load generator count as the service's
    print(json.dumps(vars(asyncio.run(run(Load(**json.load(sys.stdin)))))))
