"""Names that share character trigrams with a mention, by cosine of their idf weights.

A name is the set of the byte trigrams of its normalised form with a space before and after, hashed into 2^16 codes.
Trigrams of very many names (`ion`, `ine`) tell little and cost most: they are left out of names and mentions alike, so
that the cosine over what is left is exact.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kogner_ray.kg.index.strings import Strings

N_CODES = 1 << 16
MOST_NAMES = 12_000
"""Names that a trigram may be in; above, it is left out."""
MOST_GRAMS = 24
"""Trigrams of a mention that are looked up, rarest first."""
LEAST_COSINE = 0.3
"""Names further away are no candidates."""

_LOCAL = threading.local()


@dataclass(frozen=True)
class GramIndex:
    """Trigrams to names.

    Attributes:
        names: (P,) int32, names with each code, in order of the code.
        bounds: (N_CODES + 1,) int64, first of `names` of each code.
        weights: (N_CODES,) float32, squared idf of each code; 0 for one that is left out.
        lengths: (N,) float32, length of each name's weight vector; infinite for a name of which nothing is left.
    """

    names: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.float32]

    @classmethod
    def build(cls, names: Strings, *, most_names: int = MOST_NAMES) -> GramIndex:
        """Index `names`, which are normalised and distinct."""
        owners, codes = _grams(names)
        pairs = np.unique(codes.astype(np.int64) * max(1, len(names)) + owners)
        codes, owners = np.divmod(pairs, max(1, len(names)))
        counts = np.bincount(codes, minlength=N_CODES)
        idf = np.log1p(len(names) / np.maximum(counts, 1)).astype(np.float32)
        weights = np.where((counts > 0) & (counts <= most_names), idf * idf, 0).astype(np.float32)
        kept = weights[codes] > 0
        codes, owners = codes[kept], owners[kept]
        squares = np.bincount(owners, weights=weights[codes], minlength=len(names))
        lengths = np.where(squares > 0, np.sqrt(squares), np.inf).astype(np.float32)
        bounds = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=N_CODES))])
        return cls(owners.astype(np.int32), bounds.astype(np.int64), weights, lengths)

    def nearest(self, mentions: Sequence[str], *, most: int) -> tuple[npt.NDArray[np.int64], ...]:
        """The names nearest to each of `mentions`, which are normalised.

        Returns:
            Three arrays of one length: number of the mention, name, cosine in (0, 1]; of each mention the nearest
            `most`, nearest first, equal ones in order of the name.
        """
        found = [self._nearest(mention, most) for mention in mentions]
        owners = np.repeat(np.arange(len(found)), [len(names) for names, _ in found])
        names = np.concatenate([np.zeros(0, np.int64), *(names for names, _ in found)])
        cosines = np.concatenate([np.zeros(0, np.float32), *(cosines for _, cosines in found)])
        return owners, names, cosines

    def _nearest(self, mention: str, most: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        codes = np.unique(_codes(np.frombuffer(f" {mention} ".encode("utf-8", "replace"), dtype=np.uint8)))
        length = np.sqrt(self.weights[codes].sum())
        codes = codes[np.argsort(-self.weights[codes], kind="stable")][:MOST_GRAMS]
        lists = [self.names[self.bounds[code] : self.bounds[code + 1]] for code in codes if self.weights[code] > 0]
        if not lists:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        scores = self._scores
        for names, code in zip(lists, codes, strict=False):
            scores[names] += self.weights[code]
        touched = np.concatenate(lists)
        dots = scores[touched]
        cosines = dots / (self.lengths[touched] * length)
        scores[touched] = 0
        return _best(touched, cosines, most)

    @property
    def _scores(self) -> npt.NDArray[np.float32]:
        """One zero a name, to add up in; each thread has its own."""
        scores = getattr(_LOCAL, "scores", None)
        if scores is None or len(scores) < len(self.lengths):
            scores = _LOCAL.scores = np.zeros(len(self.lengths), dtype=np.float32)
        return scores


def _best(
    names: npt.NDArray[np.int32], cosines: npt.NDArray[np.float32], most: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The `most` distinct names of the largest cosines; each may come up to `MOST_GRAMS` times."""
    near = np.flatnonzero(cosines >= LEAST_COSINE)
    if len(near) > most * MOST_GRAMS:
        near = near[np.argpartition(-cosines[near], most * MOST_GRAMS)[: most * MOST_GRAMS]]
    distinct, at = np.unique(names[near], return_index=True)
    values = np.minimum(cosines[near][at], 1)
    order = np.argsort(-values, kind="stable")[:most]
    return distinct[order].astype(np.int64), values[order]


def _grams(names: Strings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Name and code of each trigram of all names."""
    lengths = np.diff(names.bounds)
    spaced = np.full(len(names.data) + 2 * len(names), ord(" "), dtype=np.uint8)
    starts = np.arange(len(names)) * 2 + names.bounds[:-1]
    place = np.repeat(starts + 1 - names.bounds[:-1], lengths) + np.arange(len(names.data))
    spaced[place] = names.data
    codes = _codes(spaced)
    owners = np.repeat(np.arange(len(names)), lengths + 2)[: len(codes)]
    inside = np.arange(len(codes)) < np.repeat(starts + lengths, lengths + 2)[: len(codes)]
    return owners[inside], codes[inside]


def _codes(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The code of every three neighbours of `data`."""
    wide = data.astype(np.int64)
    mixed: npt.NDArray[np.int64] = (wide[:-2] * 1_000_003 + wide[1:-1] * 8_191 + wide[2:] * 131) % 1_000_000_007
    return mixed % N_CODES
