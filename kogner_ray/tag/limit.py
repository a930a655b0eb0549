"""When so many documents failed that going on makes no sense."""

from __future__ import annotations

from kogner_ray.errors import TooManyFailures
from kogner_ray.tag.counts import Counts
from kogner_ray.tag.output import OutputFolder
from kogner_ray.tag.worker import Result

_ENOUGH = 100  # records, to judge a run by before it ends
_REASONS = 3


class FailureLimit:
    """Stops a run above a share of failures."""

    def __init__(self, share: float, output: OutputFolder) -> None:
        """Allow `share` of all records."""
        self._share, self._output = share, output
        self._reasons: list[str] = []

    def add(self, result: Result) -> None:
        """Remember why the first ones failed."""
        if result.reason and len(self._reasons) < _REASONS:
            self._reasons.append(f"{result.input}: {result.reason}")

    def check(self, counts: Counts, *, at_end: bool) -> None:
        """Judge what was tagged so far.

        Raises:
            TooManyFailures: more than the share; names it, and the first reasons.
        """
        if counts.failures <= self._share * counts.records or (counts.records < _ENOUGH and not at_end):
            return
        reasons = "".join(f"; {reason}" for reason in self._reasons)
        where = f"; see {self._output.where('failures')}" if at_end else ""
        raise TooManyFailures(
            f"{counts.failures} of {counts.records} documents failed, more than max_failures={self._share:g} of them"
            f"{reasons}{where}; run again with another max_failures to go on"
        )
