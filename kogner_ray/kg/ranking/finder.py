"""Candidates of a mention by its characters: which concepts are called so, or nearly so, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kogner_ray.kg.index.folding import bag, squashed
from kogner_ray.kg.index.index import LinkIndex
from kogner_ray.kg.names import NAME, hash_keys, normalise_name
from kogner_ray.kg.ranking.learnt import Learnt

STRING_FEATURES = ("name", "synonym", "squashed", "bag", "sibling", "gram", "learnt", "learnt share", "short form")
"""How a concept is called what the mention says: its name or a synonym; the same letters and digits; the same words in
another order, number or spelling; by the name of another vocabulary's entity that is; cosine of trigrams; log of the
training mentions that denoted it, and their share; and it is called the abbreviation whose long form is looked up."""
_NAME, _SYNONYM, _SQUASHED, _BAG, _SIBLING, _GRAM, _LEARNT, _SHARE, _SHORT = range(len(STRING_FEATURES))
_STRENGTHS = np.array([4.0, 3.5, 3.0, 2.5, 2.0, 3.0, 3.0, 3.0, 1.0], dtype=np.float32)
_NEAR_NAMES = 24
_LEAST_SURE = 3.0
MOST_CANDIDATES = 32
"""Concepts that are kept of one mention's, strongest first."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked up.

    Attributes:
        text: the mention or, of an abbreviation that its document defines, the long form.
        short: then the mention itself, else "".
    """

    text: str
    short: str = ""

    @property
    def key(self) -> str:
        """The normalised text."""
        return normalise_name(self.text)


@dataclass(frozen=True)
class HeldOut:
    """For a rehearsal: what of the index is to be forgotten for each query.

    Attributes:
        concepts: (Q,) concept that is not to be found by the query's own name; -1 forgets nothing.
        squashed: (Q,) whether another name of that concept still has the query's `squashed` key.
        bags: (Q,) the same of its `bag`.
    """

    concepts: Ints
    squashed: npt.NDArray[np.bool_]
    bags: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """Candidates of one query.

    Attributes:
        concepts: (k,) int32, distinct.
        rows: (k,) int32, the entity of each that matched best.
        features: (k, S) float32, columns as `STRING_FEATURES`.
    """

    concepts: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    features: npt.NDArray[np.float32]


class Finder:
    """Finds candidates in an index."""

    def __init__(self, index: LinkIndex, learnt: Learnt | None = None) -> None:
        """`learnt`: names beside those of the index."""
        self._index = index
        self._learnt = learnt or Learnt.none()

    def find(self, queries: Sequence[Query], *, held_out: HeldOut | None = None) -> list[Found]:
        """Candidates of each query, in order of their concept."""
        hits = _Hits(self._index)
        keys = [query.key for query in queries]
        named = self._named(hits, keys, held_out)
        self._learnt_names(hits, keys)
        self._short_forms(hits, queries)
        unsure = np.setdiff1d(np.arange(len(keys)), named)
        self._near(hits, keys, unsure, held_out)
        return hits.grouped(len(queries))

    def _named(self, hits: _Hits, keys: Sequence[str], held_out: HeldOut | None) -> Ints:
        """Queries that are a name, after spelling and order are folded."""
        index = self._index
        rows, owners = [], []
        for space, fold, feature in (
            (index.exact.names, str, _NAME),
            (index.squashed, squashed, _SQUASHED),
            (index.bags, bag, _BAG),
        ):
            owner, at = space.find_all(hash_keys(fold(key) for key in keys))
            row = space.rows[at].astype(np.int64)
            if held_out is not None:
                known = np.zeros(len(keys), dtype=bool) if feature == _NAME else held_out.squashed
                known = held_out.bags if feature == _BAG else known
                kept = known[owner] | (index.concepts[row] != held_out.concepts[owner])
                owner, at, row = owner[kept], at[kept], row[kept]
            features = np.full(len(row), feature)
            if feature == _NAME:
                features = np.where(space.kinds[at] == NAME, _NAME, _SYNONYM)
            hits.add(owner, row, features)
            rows.append(row)
            owners.append(owner)
        self._siblings(hits, np.concatenate(owners), np.concatenate(rows))
        return np.unique(np.concatenate(owners))

    def _siblings(self, hits: _Hits, owners: Ints, rows: Ints) -> None:
        """Entities of the same name in other vocabularies: each knows synonyms that the others lack."""
        names = self._index.exact.names
        hashes = self._index.exact.name_hashes[rows]
        of, at = names.find_all(hashes)
        found = names.rows[at].astype(np.int64)
        kept = (names.kinds[at] == NAME) & (found != rows[of])
        hits.add(owners[of[kept]], found[kept], np.full(kept.sum(), _SIBLING))

    def _learnt_names(self, hits: _Hits, keys: Sequence[str]) -> None:
        learnt = self._learnt
        owners, at = learnt.find_all(hash_keys(keys))
        concepts, counts = learnt.concepts[at].astype(np.int64), learnt.counts[at]
        rows = self._index.members[self._index.member_starts[concepts]].astype(np.int64)
        shares = counts / np.bincount(owners, weights=counts, minlength=len(keys)).astype(np.float32)[owners]
        hits.add(owners, rows, np.full(len(rows), _LEARNT), np.log1p(counts))
        hits.add(owners, rows, np.full(len(rows), _SHARE), shares)

    def _short_forms(self, hits: _Hits, queries: Sequence[Query]) -> None:
        names = self._index.exact.names
        owners, at = names.find_all(hash_keys(normalise_name(query.short) for query in queries))
        hits.add(owners, names.rows[at].astype(np.int64), np.full(len(at), _SHORT))

    def _near(self, hits: _Hits, keys: Sequence[str], unsure: Ints, held_out: HeldOut | None) -> None:
        """Names with the same trigrams, for queries that are no name themselves."""
        index = self._index
        of, near, cosines = index.grams.nearest([keys[i] for i in unsure], most=_NEAR_NAMES)
        first, last = index.name_starts[near], index.name_starts[near + 1]
        sizes = last - first
        at = np.arange(sizes.sum()) + np.repeat(first - np.cumsum(sizes) + sizes, sizes)
        owners, rows = unsure[np.repeat(of, sizes)], index.exact.names.rows[at].astype(np.int64)
        values = np.repeat(cosines, sizes).astype(np.float32)
        if held_out is not None:
            own = index.exact.names.hashes[at] == hash_keys(keys)[owners]
            kept = ~own | (index.concepts[rows] != held_out.concepts[owners])
            owners, rows, values = owners[kept], rows[kept], values[kept]
        hits.add(owners, rows, np.full(len(rows), _GRAM), values)


class _Hits:
    """Hits of many queries, as they come."""

    def __init__(self, index: LinkIndex) -> None:
        self._index = index
        self._parts: list[tuple[Ints, Ints, Ints, npt.NDArray[np.floating]]] = []

    def add(self, owners: Ints, rows: Ints, features: Ints, values: npt.NDArray[np.floating] | None = None) -> None:
        """Query, row, feature and value (1 unless given) of each hit."""
        self._parts.append((owners, rows, features, np.ones(len(rows)) if values is None else values))

    def grouped(self, n_queries: int) -> list[Found]:
        """The concepts of each query with the best value of each feature."""
        index = self._index
        owners, rows, features, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        keys = owners * max(1, index.n_concepts) + index.concepts[rows]
        strengths = _STRENGTHS[features] * values + 1e-3 * index.exact.degrees[rows].clip(max=900) / 900
        order = np.lexsort((rows, -strengths, keys))
        keys, rows, features, values = keys[order], rows[order], features[order], values[order]
        distinct, first, of = np.unique(keys, return_index=True, return_inverse=True)
        table = np.zeros((len(distinct), len(STRING_FEATURES)), dtype=np.float32)
        np.maximum.at(table, (of, features), values.astype(np.float32))
        owners, concepts = np.divmod(distinct, max(1, index.n_concepts))
        bounds = np.searchsorted(owners, np.arange(n_queries + 1))
        found = []
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            own = strongest(table[low:high]) + low if high - low > MOST_CANDIDATES else slice(low, high)
            found.append(Found(concepts[own].astype(np.int32), rows[first[own]].astype(np.int32), table[own]))
        return found


def strongest(features: npt.NDArray[np.float32]) -> Ints:
    """The `MOST_CANDIDATES` candidates of the most evidence, in their order."""
    chosen = np.argsort(-(features @ _STRENGTHS), kind="stable")[:MOST_CANDIDATES]
    return np.sort(chosen)
