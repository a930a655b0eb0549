"""From groups of mentions to entities: candidates, their probabilities, and whether the best is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kogner_ray.kg.index.index import MOST_BITS, LinkIndex
from kogner_ray.kg.ranking.finder import Finder, Found, Ints, Query
from kogner_ray.kg.ranking.learnt import Learnt
from kogner_ray.kg.ranking.pool import Floats, Group, Pool, make_pool
from kogner_ray.kg.ranking.ranker import Ranker

_REMEMBERED = 1 << 16


@dataclass(frozen=True)
class Ranked:
    """Candidates of G groups with their probabilities.

    Attributes:
        pool: the candidates.
        probabilities: (n,) of each.
        order: (n,) candidates, those of a group together, the most probable first.
        starts: (G + 1,) first of `order` of each group.
    """

    pool: Pool
    probabilities: Floats
    order: Ints
    starts: Ints


class Chooser:
    """Links groups to the entities of an index."""

    def __init__(
        self,
        index: LinkIndex,
        ranker: Ranker,
        *,
        vocabularies: Sequence[str] = (),
        threshold: float | None = None,
    ) -> None:
        """Link with `ranker`.

        Args:
            index: entities.
            ranker: of this index.
            vocabularies: prefixes of ids (`MESH`), best first: only concepts that have such an id are candidates, and
                it is the one that is given. Without any, the id is of the vocabularies that `ranker` was fitted to,
                else of the entity that matched best.
            threshold: instead of the ranker's.
        """
        self.index, self.ranker = index, ranker
        self.threshold = ranker.threshold if threshold is None else threshold
        self.finder = Finder(index, learnt_names(index, ranker))
        self._wanted = [name.strip().casefold().rstrip(":") for name in vocabularies]
        self._allowed = self._bits_of(self._wanted) if self._wanted else None
        preferred = self._wanted or ranker.preferred
        ranks = {name: place for place, name in enumerate(preferred)}
        self._ranks = np.array([ranks.get(name, len(ranks)) for name in index.vocabularies], dtype=np.int64)
        self._found: dict[Query, Found] = {}

    def link(self, groups: Sequence[Group], points: Floats | None = None) -> tuple[Ints, Floats]:
        """(G,) the entity of each group, -1 where it stays unlinked, and (G,) the best candidate's probability."""
        ranked = self.rank(groups, points)
        has = np.flatnonzero(np.diff(ranked.starts))
        best = ranked.order[ranked.starts[has]]
        scores = np.zeros(len(groups), dtype=np.float32)
        scores[has] = ranked.probabilities[best]
        rows = np.full(len(groups), -1, dtype=np.int64)
        sure = scores[has] >= self.threshold
        rows[has[sure]] = self.shown(ranked.pool, best[sure])
        return rows, scores

    def rank(self, groups: Sequence[Group], points: Floats | None = None) -> Ranked:
        """The candidates of each group; `points`: (G, d) where they lie in H, of length 1, or None."""
        pool = self.pool(groups, points)
        own, _ = self.ranker.probabilities(pool, self.index)
        order = np.lexsort((pool.concepts, -own, pool.owners))
        starts = np.searchsorted(pool.owners[order], np.arange(len(groups) + 1))
        return Ranked(pool, own, order, starts)

    def pool(self, groups: Sequence[Group], points: Floats | None = None) -> Pool:
        """The candidates of each group, without those of vocabularies that were not asked for."""
        queries = [group.query for group in groups]
        new = list(dict.fromkeys(query for query in queries if query not in self._found))
        fresh = dict(zip(new, self.finder.find(new), strict=True)) if new else {}
        found = [fresh[query] if query in fresh else self._found[query] for query in queries]
        if len(self._found) + len(fresh) > _REMEMBERED:
            self._found.clear()
        self._found.update(fresh)
        pool = make_pool(self.index, groups, found, points)
        if self._allowed is None:
            return pool
        return pool.keep((self.index.vocabulary_bits[pool.concepts] & self._allowed) != 0)

    def shown(self, pool: Pool, candidates: Ints) -> Ints:
        """Of each candidate, the entity whose id is given."""
        shown = pool.rows[candidates]
        for place, (concept, row) in enumerate(zip(pool.concepts[candidates].tolist(), shown.tolist(), strict=True)):
            members = self.index.members_of(concept)
            ranks = self._ranks[self.index.vocabulary_codes[members]]
            if ranks.min() < self._ranks[self.index.vocabulary_codes[row]]:
                shown[place] = members[int(ranks.argmin())]
        return shown

    def _bits_of(self, vocabularies: Sequence[str]) -> np.uint64:
        known = self.index.vocabularies[:MOST_BITS]
        bits: np.uint64 = np.uint64(sum(1 << place for place, name in enumerate(known) if name in vocabularies))
        return bits


def learnt_names(index: LinkIndex, ranker: Ranker) -> Learnt:
    """The names that came with `ranker`, of entities that `index` has."""
    counts = {}
    for surface, id, count in ranker.names:
        row = index.row_of(id)
        if row is not None:
            counts[surface, int(index.concepts[row])] = count
    return Learnt.of(counts)
