"""What annotated mentions were linked to: names that a training corpus adds to those of the KG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kogner_ray.kg.names import hash_keys


@dataclass(frozen=True)
class Learnt:
    """Normalised surfaces to concepts.

    Attributes:
        hashes: (L,) uint64, sorted.
        concepts: (L,) int32.
        counts: (L,) float32, mentions with the surface that denoted the concept.
    """

    hashes: npt.NDArray[np.uint64]
    concepts: npt.NDArray[np.int32]
    counts: npt.NDArray[np.float32]

    @classmethod
    def of(cls, counts: Mapping[tuple[str, int], int]) -> Learnt:
        """`counts` of each normalised surface and concept."""
        pairs = list(counts)
        hashes = hash_keys(surface for surface, _ in pairs)
        concepts = np.array([concept for _, concept in pairs], dtype=np.int32)
        order = np.lexsort((concepts, hashes))
        values = np.array(list(counts.values()), dtype=np.float32)
        return cls(hashes[order], concepts[order], values[order])

    @classmethod
    def none(cls) -> Learnt:
        """Nothing was learnt."""
        return cls.of({})

    def find_all(self, keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Position in `keys`, ascending, and position in `concepts` of whatever has one of `keys`."""
        first, last = np.searchsorted(self.hashes, keys, "left"), np.searchsorted(self.hashes, keys, "right")
        sizes = last - first
        owners = np.repeat(np.arange(len(keys)), sizes)
        return owners, np.arange(sizes.sum()) + np.repeat(first - np.cumsum(sizes) + sizes, sizes)


def count_names(mentions: Iterable[tuple[str, Iterable[int]]]) -> Counter[tuple[str, int]]:
    """How often each normalised surface denoted each concept; composite mentions, of several, are left out."""
    counts: Counter[tuple[str, int]] = Counter()
    for surface, concepts in mentions:
        found = set(concepts)
        if surface and len(found) == 1:
            counts[surface, found.pop()] += 1
    return counts
