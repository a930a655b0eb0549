"""How far a loop has come, on standard error: a bar on a terminal, elsewhere a line now and then.

Standard output stays free for what a command prints, such as JSON.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")

_EVERY_S = 30.0


def tracked(items: Iterable[T], title: str, *, total: int, shown: bool = True) -> Iterator[T]:
    """`items`; a bar goes away when they end."""
    console = Console(stderr=True)
    if not shown:
        yield from items
    elif console.is_terminal:
        yield from track(items, title, total=total, console=console, transient=True)
    else:
        pace = Pace()
        for number, item in enumerate(items, 1):
            yield item
            if pace.due():
                console.print(f"{title}: {number} of {total}", highlight=False)


class Pace:
    """Says when the next line of a log is due."""

    def __init__(self) -> None:
        """The first one is due after half a minute."""
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time; the caller then prints."""
        now = time.monotonic()
        if now - self._last < _EVERY_S:
            return False
        self._last = now
        return True
