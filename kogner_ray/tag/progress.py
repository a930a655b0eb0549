"""How far a run has come, on standard error: a bar on a terminal, elsewhere a line every half a minute."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from typing_extensions import Self

from kogner_ray.tag.counts import Counts
from kogner_ray.track import Pace

_LATELY_S = 60.0


class TagProgress:
    """Documents and words done, their rate lately, failures, the share of the input's bytes, the time that is left."""

    def __init__(self, *, n_bytes: int, before: Counts) -> None:
        """Show a run over `n_bytes` of which `before` is done."""
        self._console = Console(stderr=True)
        self._n_bytes, self._counts = max(1, n_bytes), before
        self._start, self._bytes_before = time.monotonic(), before.n_bytes
        self._lately: deque[tuple[float, Counts, str]] = deque()
        self._pace = Pace()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=self._console, transient=True
        )
        self._task = self._bar.add_task("tagging", total=self._n_bytes, completed=before.n_bytes)

    def __enter__(self) -> Self:
        """Begin."""
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._console.is_terminal:
            self._bar.stop()

    def add(self, counts: Counts, worker: str) -> None:
        """A chunk is done."""
        now = time.monotonic()
        self._counts += counts
        self._lately.append((now, counts, worker))
        while now - self._lately[0][0] > _LATELY_S:
            self._lately.popleft()
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self._counts.n_bytes, description=self.line())
        elif self._pace.due():
            self._console.print(f"{self.line()}, {self._remaining()} left", highlight=False, soft_wrap=True)

    def line(self) -> str:
        """All of it in one line."""
        seconds = max(1e-3, min(_LATELY_S, time.monotonic() - self._start))
        documents = sum(counts.documents for _, counts, _ in self._lately) / seconds
        words = sum(counts.words for _, counts, _ in self._lately) / seconds
        workers = len({worker for _, _, worker in self._lately})
        share = self._counts.n_bytes / self._n_bytes
        return (
            f"{self._counts.documents:,} documents, {documents:,.1f}/s, {words:,.0f} words/s, "
            f"{self._counts.failures:,} failures, {workers} actors, {share:.1%} of the input"
        )

    def _remaining(self) -> str:
        done = self._counts.n_bytes - self._bytes_before
        if done <= 0:
            return "unknown time"
        seconds = (time.monotonic() - self._start) * max(0, self._n_bytes - self._counts.n_bytes) / done
        return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
