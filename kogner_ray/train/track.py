"""Progress bars on a terminal; nothing where output goes to a file, so that JSON stays JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def tracked(items: Iterable[T], title: str, *, total: int, shown: bool = True) -> Iterator[T]:
    """`items`, with a bar on standard error that goes away when they end."""
    console = Console(stderr=True)
    yield from track(
        items, title, total=total, console=console, transient=True, disable=not (shown and console.is_terminal)
    )
