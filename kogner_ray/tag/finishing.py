"""Inputs being finished in Ray tasks, beside the tagging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from kogner_ray.data.sources import Source
from kogner_ray.tag.finish import finish
from kogner_ray.tag.manifest import Manifest

_AT_ONCE = 4


class Finishing:
    """Starts a task an input, notes in the manifest what is done."""

    def __init__(self, manifest: Manifest, to: Sequence[str]) -> None:
        """Finish inputs of this run, converted to these formats."""
        self._manifest, self._to = manifest, tuple(to)
        self._running: dict[Any, str] = {}
        # without a CPU of its own: actors may hold all of them until the last input is finished
        self._task = ray.remote(num_cpus=0)(finish)

    def start(self, source: Source, n_chunks: int | None = None) -> None:
        """Finish an input that has `n_chunks`, all there; waits while enough others are being finished."""
        while len(self._running) >= _AT_ONCE:
            self._collect(wait_s=None)
        reference = self._task.remote(self._manifest.output, source, n_chunks, self._to)
        self._running[reference] = source.name

    def collect(self) -> None:
        """Note what is finished by now.

        Raises:
            KognerError: what went wrong in the task.
        """
        self._collect(wait_s=0)

    def collect_all(self) -> None:
        """Wait for all of them; errors as in `collect`."""
        while self._running:
            self._collect(wait_s=None)

    def _collect(self, *, wait_s: float | None) -> None:
        if not self._running:
            return
        ready, _ = ray.wait(list(self._running), timeout=wait_s)
        for reference in ready:
            self._manifest.finished(self._running.pop(reference), ray.get(reference))
