"""Requests of all callers in common batches of words, in turn: a large request does not keep a small one waiting.

While a batch is computed in a thread, the next one gathers: a lone caller never waits for others, and many callers fill
the batches by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from kogner_ray.serve.counters import BATCH_WORDS, WORDS
from kogner_ray.serve.problems import Problem
from kogner_ray.tagging import TaggedEntity, TagRequest

_PARTS = 4
_FORGET = 0.8
Tagged = list[list[TaggedEntity]]
TagTogether = Callable[[Sequence[TagRequest]], list[Tagged]]


@dataclass(frozen=True, slots=True)
class Part:
    """Texts `first .. first + len(texts) - 1` of a request."""

    first: int
    texts: Sequence[str]
    n_words: int


@dataclass(eq=False)
class Ticket:
    """A request that waits: parts not yet computed and their words, and what came out of others."""

    request: TagRequest
    n_types: int
    waiting: deque[Part]
    n_words: int
    done: asyncio.Queue[tuple[Part, Tagged | Exception]] = field(default_factory=asyncio.Queue)


class Batcher:
    """Runs requests of one model."""

    def __init__(self, tag: TagTogether, *, max_batch: int, max_queue: int, max_types: int) -> None:
        """Nothing runs before the first request.

        Args:
            tag: computes; called in a thread of its own, one call at a time.
            max_batch: words a batch; a longer text is a batch by itself.
            max_queue: words of others that may be computed before a request is done.
            max_types: types a batch, unless a single request has more.
        """
        self._tag = tag
        self._max_batch, self._max_queue, self._max_types = max_batch, max_queue, max_types
        self._tickets: deque[Ticket] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tag")
        self._running: asyncio.Task[None] | None = None
        self._words_a_second = 1000.0
        self._since: float | None = None
        self.n_waiting = 0
        self._ahead: dict[int, int] = {}  # words of a request -> words of others before it, when `_counted` waited
        self._counted = 0

    @property
    def busy_s(self) -> float:
        """Seconds that the present batch has taken so far."""
        return 0.0 if self._since is None else time.perf_counter() - self._since

    async def stream(
        self, request: TagRequest, n_words: Sequence[int], n_types: int
    ) -> AsyncGenerator[tuple[int, Tagged], None]:
        """Entities of texts `first ...` as they come, as (first, entities of each).

        Args:
            request: what is asked for; valid for the model.
            n_words: of each text.
            n_types: of the request.

        Raises:
            Problem: 429, more waits already than may wait.
        """
        ticket = self._enter(request, n_words, n_types)
        try:
            for _ in range(len(ticket.waiting)):
                part, result = await ticket.done.get()
                if isinstance(result, Exception):
                    raise result
                yield part.first, result
        finally:  # also where the caller has gone: what was not begun is not begun
            self._leave(ticket)

    def admit(self, n_words: int) -> None:
        """Refuse a request of `n_words` that would wait for too many words of others.

        Raises:
            Problem: 429.
        """
        if self.n_waiting <= self._max_queue:
            return
        if self._counted != self.n_waiting:  # of thousands of refusals a second, most come while nothing has changed
            self._ahead.clear()
            self._counted = self.n_waiting
        if n_words not in self._ahead:
            # in turn: of what waits, no more is computed before this request is done than it has itself
            self._ahead[n_words] = sum(min(other.n_words, n_words) for other in self._tickets)
        ahead = self._ahead[n_words]
        if ahead > self._max_queue:
            raise Problem(
                429,
                f"{ahead:,} words wait before this request, at most {self._max_queue:,} may (max_queue)",
                limit="max_queue",
                maximum=self._max_queue,
                got=ahead,
                retry_after_s=ahead / self._words_a_second,
            )

    async def tag(self, request: TagRequest, n_words: Sequence[int], n_types: int) -> Tagged:
        """Entities of each text."""
        tagged: Tagged = [[] for _ in request.texts]
        async for first, entities in self.stream(request, n_words, n_types):
            tagged[first : first + len(entities)] = entities
        return tagged

    def _enter(self, request: TagRequest, n_words: Sequence[int], n_types: int) -> Ticket:
        parts = deque(_parts(request.texts, n_words, self._max_batch // _PARTS))
        ticket = Ticket(request, n_types, parts, sum(n_words))
        self.admit(ticket.n_words)
        self.n_waiting += ticket.n_words
        self._tickets.append(ticket)
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._run())
        return ticket

    def _leave(self, ticket: Ticket) -> None:
        self.n_waiting -= ticket.n_words
        ticket.n_words = 0
        ticket.waiting.clear()

    async def _run(self) -> None:
        while batch := self._next():
            requests = [replace(ticket.request, texts=part.texts) for ticket, part in batch]
            self._since = started = time.perf_counter()
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._results, requests)
            self._since = None
            n_words = sum(part.n_words for _, part in batch)
            WORDS.inc(n_words)
            BATCH_WORDS.observe(n_words)
            rate = n_words / (time.perf_counter() - started)
            self._words_a_second = _FORGET * self._words_a_second + (1 - _FORGET) * rate
            for (ticket, part), result in zip(batch, results, strict=True):
                ticket.done.put_nowait((part, result))

    def _results(self, requests: Sequence[TagRequest]) -> list[Tagged | Exception]:
        """What came of each; a request that fails does so alone."""
        try:
            return [*self._tag(requests)]
        except Exception as error:
            if len(requests) == 1:
                return [error]
            return [result for request in requests for result in self._results([request])]

    def _next(self) -> list[tuple[Ticket, Part]]:
        """Parts of all who wait, one each in turn, until there are words or types enough."""
        batch: list[tuple[Ticket, Part]] = []
        n_words, askers = 0, dict[Ticket, None]()
        while self._tickets:
            ticket = self._tickets[0]
            if not ticket.waiting:
                self._tickets.popleft()
                continue
            n_types = sum(asker.n_types for asker in askers | {ticket: None})
            if batch and (n_words + ticket.waiting[0].n_words > self._max_batch or n_types > self._max_types):
                break
            part = ticket.waiting.popleft()
            self._tickets.rotate(-1)
            self.n_waiting -= part.n_words
            ticket.n_words -= part.n_words
            n_words += part.n_words
            askers[ticket] = None
            batch.append((ticket, part))
        return batch


def _parts(texts: Sequence[str], n_words: Sequence[int], most: int) -> list[Part]:
    """Texts in order, of up to `most` words together, or one."""
    parts: list[Part] = []
    first, words = 0, 0
    for index, n in enumerate(n_words):
        if index > first and words + n > most:
            parts.append(Part(first, texts[first:index], words))
            first, words = index, 0
        words += n
    if first < len(texts):
        parts.append(Part(first, texts[first:], words))
    return parts
