"""Batches on several cores at once, one core each: small operations do not wait for each other's halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], *, n_threads: int) -> Iterator[Result]:
    """`work` of each item, in order, on up to `n_threads` threads; a single item has all of torch's own."""
    if n_threads == 1 or len(items) < 2:
        yield from map(work, items)
        return
    own = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, items)
    finally:
        torch.set_num_threads(own)  # the workers' 1 would be what threads get that start later
