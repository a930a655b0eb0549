"""How far a training has come, on rank 0 only: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

from collections.abc import Mapping

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from kogner_ray.track import Pace
from kogner_ray.train.session import Session


class Progress:
    """Steps done and to do, with the newest losses beside them."""

    def __init__(self, session: Session, *, total: int, done: int) -> None:
        """`done`: steps that an earlier start of this run has taken."""
        self._bar = Bar(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._shown = session.rank == 0
        self._task = self._bar.add_task("training", total=total, completed=done, text="")
        self._pace = Pace()
        if self._shown and self._bar.console.is_terminal:
            self._bar.start()

    def advance(self, metrics: Mapping[str, float]) -> None:
        """One step more."""
        text = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self._bar.update(self._task, advance=1, text=text)
        if not self._bar.console.is_terminal and self._pace.due():
            task = self._bar.tasks[self._task]
            self.note(f"step {task.completed:.0f} of {task.total:.0f}: {text}")

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._shown:
            self._bar.console.print(text, highlight=False)

    def close(self) -> None:
        """Take the bar down."""
        if self._shown and self._bar.console.is_terminal:
            self._bar.stop()
