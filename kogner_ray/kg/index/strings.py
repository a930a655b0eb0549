"""Many strings in two arrays that can be memory-mapped: nothing is read of those that nobody asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Strings:
    """A list of strings.

    Attributes:
        data: uint8, UTF-8 of all strings, one after another.
        bounds: (n + 1,) int64, first byte of each string, then the number of bytes.
    """

    data: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, strings: Iterable[str]) -> Strings:
        """`strings`; a lone surrogate becomes a question mark."""
        encoded = [string.encode("utf-8", "replace") for string in strings]
        bounds = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(part) for part in encoded], out=bounds[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, row: int) -> str:
        return bytes(self.data[self.bounds[row] : self.bounds[row + 1]]).decode("utf-8")
