"""Candidates of all mentions of some documents, with what context says of each.

What is decided together is a `Group`: the mentions of one document with one surface (an abbreviation that the document
defines counts as its long form) and one type. Nothing of another document enters a group's features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kogner_ray.kg.index.index import MOST_BITS, LinkIndex
from kogner_ray.kg.linking import type_key, types_alike
from kogner_ray.kg.ranking.finder import STRING_FEATURES, Found, Ints, Query

CONTEXT_FEATURES = ("edges", "vocabularies", "type equal", "type alike", "cosine", "in document")
"""Log of the concept's edges, number of its vocabularies, whether one of its types is the mention's or of its family,
its best cosine to the mention in H, and whether another mention of the document is called so."""
FEATURES = (*STRING_FEATURES, *CONTEXT_FEATURES)
NIL_FEATURES = ("bias", "named", "folded", "gram", "learnt", "short", "rivals", "cosine")
"""What speaks for none of the candidates: a constant, the best evidence that there is, a surface of up to three
characters, the log of the concepts that are called exactly so, and the best cosine."""

_SQUASHED, _SIBLING, _GRAM, _LEARNT = map(STRING_FEATURES.index, ("squashed", "sibling", "gram", "learnt"))
_EXACT, _FOLDED, _CALLED = slice(_SQUASHED), slice(_SQUASHED, _SIBLING), slice(_SIBLING)
_SHORT = 3
_MEMBERS = 4
_NEIGHBOURS = 16
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Group:
    """Mentions of one document that are linked alike.

    Attributes:
        document: its number.
        query: what is looked up.
        type: of the mentions.
    """

    document: int
    query: Query
    type: str


@dataclass(frozen=True)
class Pool:
    """Candidates of G groups; n of them in all, in order of their group.

    Attributes:
        owners: (n,) group.
        concepts: (n,).
        rows: (n,) entity that matched best.
        features: (n, F) as `FEATURES`.
        nil: (G, K) as `NIL_FEATURES`.
        types: (G,) of the groups.
    """

    owners: Ints
    concepts: Ints
    rows: Ints
    features: Floats
    nil: Floats
    types: list[str]

    def keep(self, kept: npt.NDArray[np.bool_]) -> Pool:
        """The pool without the other candidates; what speaks for none of them stays as it was."""
        return replace(
            self,
            owners=self.owners[kept],
            concepts=self.concepts[kept],
            rows=self.rows[kept],
            features=self.features[kept],
        )


def make_pool(index: LinkIndex, groups: Sequence[Group], found: Sequence[Found], points: Floats | None = None) -> Pool:
    """The pool of `groups`, of which `found` are the candidates by characters.

    Args:
        index: what they were found in.
        groups: what is to be linked.
        found: of each group.
        points: (G, d) where each group's mentions lie in H, of length 1; None does without H.
    """
    near = points is not None and index.neighbours is not None
    owners = np.repeat(np.arange(len(groups)), [len(own.concepts) for own in found]).astype(np.int64)
    concepts = _joined([own.concepts for own in found])
    rows = _joined([own.rows for own in found])
    strings = np.concatenate([np.zeros((0, len(STRING_FEATURES)), np.float32), *(own.features for own in found)])
    if near:
        assert points is not None
        owners, concepts, rows, strings = _with_neighbours(index, points, owners, concepts, rows, strings)
    cosines = _cosines(index, concepts, points[owners]) if near and points is not None else np.zeros(len(rows))
    equal, alike = _type_matches(index, [group.type for group in groups], owners, concepts)
    documents = np.array([group.document for group in groups], dtype=np.int64)
    context = (
        index.weights[concepts] / 10,
        np.bitwise_count(index.vocabulary_bits[concepts]) / 4,
        equal,
        alike & ~equal,
        cosines,
        _elsewhere(documents[owners] if len(owners) else owners, owners, concepts, strings, index.n_concepts),
    )
    features = np.concatenate([strings, np.stack(context, axis=1).astype(np.float32)], axis=1)
    nil = _nil_features(features, owners, [group.query for group in groups])
    return Pool(owners, concepts, rows, features, nil, [group.type for group in groups])


def _joined(parts: list[npt.NDArray[np.int32]]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)


def _with_neighbours(
    index: LinkIndex, points: Floats, owners: Ints, concepts: Ints, rows: Ints, strings: Floats
) -> tuple[Ints, Ints, Ints, Floats]:
    """Also the concepts that lie near those groups which are no name, not even folded or learnt."""
    assert index.neighbours is not None
    certain = owners[(strings[:, _CALLED] > 0).any(axis=1)]
    unsure = np.setdiff1d(np.arange(len(points)), certain)
    near = index.neighbours.nearest(points[unsure], most=_NEIGHBOURS)
    of, at = np.nonzero(near >= 0)
    new_owners, new_rows = unsure[of], near[of, at]
    new_concepts = index.concepts[new_rows].astype(np.int64)
    keys = owners * index.n_concepts + concepts
    new_keys, first = np.unique(new_owners * index.n_concepts + new_concepts, return_index=True)
    first = first[~np.isin(new_keys, keys)]
    owners, concepts = np.concatenate([owners, new_owners[first]]), np.concatenate([concepts, new_concepts[first]])
    rows = np.concatenate([rows, new_rows[first]])
    strings = np.concatenate([strings, np.zeros((len(first), strings.shape[1]), np.float32)])
    order = np.lexsort((concepts, owners))
    return owners[order], concepts[order], rows[order], strings[order]


def _cosines(index: LinkIndex, concepts: Ints, points: Floats) -> Floats:
    """The best cosine of each candidate's entities, of the first few of them, to its mention."""
    assert index.neighbours is not None
    first, last = index.member_starts[concepts], index.member_starts[concepts + 1]
    best = np.full(len(concepts), -1, dtype=np.float32)
    for place in range(_MEMBERS):
        there = np.flatnonzero(first + place < last)
        rows = index.members[first[there] + place]
        order = np.argsort(rows)  # the file is read forwards
        there, rows = there[order], rows[order]
        directions = np.asarray(index.neighbours.directions[rows], dtype=np.float32)
        best[there] = np.maximum(best[there], np.einsum("nd,nd->n", directions, points[there]))
    return best


def _type_matches(
    index: LinkIndex, types: Sequence[str], owners: Ints, concepts: Ints
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    known = index.exact.types[:MOST_BITS]
    distinct = sorted(set(types))
    same = [[type_key(name) == type_key(type) for name in known] for type in distinct]
    near = [[types_alike(type, name) for name in known] for type in distinct]
    equal, alike = (np.array([_bits(row) for row in rows], dtype=np.uint64) for rows in (same, near))
    codes = np.searchsorted(np.array(distinct, dtype=object), np.array(types, dtype=object))[owners]
    bits = index.type_bits[concepts]
    return (bits & equal[codes]) != 0, (bits & alike[codes]) != 0


def _bits(holds: Sequence[bool]) -> int:
    return sum(1 << place for place, own in enumerate(holds) if own)


def _elsewhere(documents: Ints, owners: Ints, concepts: Ints, strings: Floats, n_concepts: int) -> Floats:
    """For each candidate, whether another group of its document is called so, shared among all that are called so."""
    called = (strings[:, _EXACT] > 0).any(axis=1).astype(np.float64)
    rivals = np.bincount(owners, weights=called)
    shares = np.divide(called, rivals[owners], out=np.zeros(len(owners)), where=called > 0)
    _, of = np.unique(documents * max(1, n_concepts) + concepts, return_inverse=True)
    return np.minimum(np.bincount(of, weights=shares)[of] - shares, 1).astype(np.float32)


def _nil_features(features: Floats, owners: Ints, queries: Sequence[Query]) -> Floats:
    best = np.zeros((len(queries), features.shape[1]), dtype=np.float32)
    np.maximum.at(best, owners, features)
    called = (features[:, _EXACT] > 0).any(axis=1)
    columns = (
        np.ones(len(queries)),
        best[:, _EXACT].max(axis=1, initial=0) > 0,
        best[:, _FOLDED].max(axis=1, initial=0) > 0,
        best[:, _GRAM],
        best[:, _LEARNT],
        [len(query.text) <= _SHORT for query in queries],
        np.log1p(np.bincount(owners, weights=called, minlength=len(queries))),
        best[:, FEATURES.index("cosine")],
    )
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=1)
