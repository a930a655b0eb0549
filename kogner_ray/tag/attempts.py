"""How often a piece of work was begun, in a Ray actor: a document that takes its process down is found that way.

Ray begins the chunk of a dead actor again, and again, without end. So after some attempts a chunk is tagged a document
at a time, and a document that was begun as often is a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import ray

_TRIES = 3


class _Counts:
    def __init__(self) -> None:
        self._begun: Counter[Hashable] = Counter()

    def begin(self, work: Hashable) -> int:
        self._begun[work] += 1
        return self._begun[work]


@dataclass(frozen=True)
class Attempts:
    """Counts attempts of a run; can be sent to other processes."""

    actor: Any

    @classmethod
    def start(cls) -> Attempts:
        """Start counting; ends when the driver forgets it."""
        return cls(ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Counts).remote())

    def exhausted(self, *work: Hashable) -> bool:
        """Begin `work`; whether it was begun too often before."""
        return int(ray.get(self.actor.begin.remote(work))) > _TRIES
