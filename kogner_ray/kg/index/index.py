"""The linking index: all that finds and shows entities by what they are called, in arrays that need no reading.

Made once from an entity table. In a folder each array is an .npy file of its own, which is memory-mapped: whoever links
to the same folder on one machine shares the pages that are looked at, and nothing else is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kogner_ray.kg.index.folding import bag, squashed
from kogner_ray.kg.index.grams import GramIndex
from kogner_ray.kg.index.neighbours import Neighbours
from kogner_ray.kg.index.strings import Strings
from kogner_ray.kg.names import KeyIndex, NameIndex, hash_keys, normalise_name
from kogner_ray.track import tracked

MOST_BITS = 64
"""Types and vocabularies that are told apart; those beyond, which have the fewest entities, count as one."""


@dataclass(frozen=True)
class LinkIndex:
    """An entity table as linking sees it; row = entity.

    Attributes:
        exact: normalised names and ids, types, degrees, as `kogner_ray.kg.linking` uses them; its concepts are 0 ..
            n_concepts - 1.
        squashed: `folding.squashed` of names to rows; kinds as those of names.
        bags: `folding.bag` of names to rows.
        grams: trigrams of the distinct normalised names, which are in the order of the distinct hashes of
            `exact.names`.
        name_starts: (n_names + 1,) int64, first entry of `exact.names` of each distinct name.
        ids: entity ids.
        names: entity names, as they are shown.
        members: (N,) int32, rows in order of their concept.
        member_starts: (n_concepts + 1,) int64, first of `members` of each concept.
        vocabularies: prefixes of ids, casefolded, most entities first.
        vocabulary_codes: (N,) int16, each row's, at most `MOST_BITS - 1`.
        neighbours: H, or None without.
    """

    exact: NameIndex
    squashed: KeyIndex
    bags: KeyIndex
    grams: GramIndex
    name_starts: npt.NDArray[np.int64]
    ids: Strings
    names: Strings
    members: npt.NDArray[np.int32]
    member_starts: npt.NDArray[np.int64]
    vocabularies: tuple[str, ...]
    vocabulary_codes: npt.NDArray[np.int16]
    neighbours: Neighbours | None = None

    def __len__(self) -> int:
        return len(self.exact)

    @property
    def concepts(self) -> npt.NDArray[np.int64]:
        """(N,) concept of each row; rows of one `cluster` are one concept."""
        return self.exact.concepts

    @property
    def n_concepts(self) -> int:
        """Distinct concepts."""
        return len(self.member_starts) - 1

    @classmethod
    def build(cls, table: pa.Table, *, directions: npt.NDArray[np.float16] | None = None) -> LinkIndex:
        """Index a table with columns id, name, type and synonyms.

        Args:
            table: entities; columns `cluster`, `degree` and those of other ids are used where it has them.
            directions: (N, d) rows of H, of length 1.
        """
        exact = NameIndex.from_table(table)
        called = list(tracked(_names(table), "names", total=table.num_rows))
        distinct = {name for _, names in called for name in names if name}
        keys = {name: (squashed(name), bag(name)) for name in distinct}
        spaces = [KeyIndex.build(_folded(called, keys, place)) for place in (0, 1)]
        hashes, starts = np.unique(exact.names.hashes, return_index=True)
        by_hash = sorted(zip(hash_keys(distinct).tolist(), distinct, strict=True))
        assert len(by_hash) == len(hashes)
        concepts = np.unique(exact.concepts, return_inverse=True)[1].astype(np.int64)
        members = np.argsort(concepts, kind="stable").astype(np.int32)
        vocabularies, codes = _vocabularies(table)
        return cls(
            exact=replace(exact, concepts=concepts),
            squashed=spaces[0],
            bags=spaces[1],
            grams=GramIndex.build(Strings.of(name for _, name in by_hash)),
            name_starts=np.append(starts, len(exact.names.hashes)).astype(np.int64),
            ids=Strings.of(table["id"].to_pylist()),
            names=Strings.of(name or "" for name in table["name"].to_pylist()),
            members=members,
            member_starts=np.searchsorted(concepts[members], np.arange(concepts.max(initial=-1) + 2)).astype(np.int64),
            vocabularies=vocabularies,
            vocabulary_codes=codes,
            neighbours=None if directions is None else Neighbours(directions),
        )

    def members_of(self, concept: int) -> npt.NDArray[np.int32]:
        """Rows of a concept."""
        return self.members[self.member_starts[concept] : self.member_starts[concept + 1]]

    def row_of(self, id: str) -> int | None:
        """The entity whose own id is `id`."""
        return next((row for row, _ in self.exact.ids.find(id.strip().casefold()) if self.ids[row] == id), None)

    @cached_property
    def vocabulary_bits(self) -> npt.NDArray[np.uint64]:
        """(n_concepts,) vocabularies of each concept's rows, a bit each."""
        return self._bits(self.vocabulary_codes)

    @cached_property
    def type_bits(self) -> npt.NDArray[np.uint64]:
        """(n_concepts,) types of each concept's rows, a bit each."""
        return self._bits(np.minimum(self.exact.type_codes, MOST_BITS - 1))

    @cached_property
    def weights(self) -> npt.NDArray[np.float32]:
        """(n_concepts,) log of the edges of each concept."""
        sums = np.bincount(self.concepts, weights=self.exact.degrees, minlength=self.n_concepts)
        return np.log1p(sums).astype(np.float32)

    def _bits(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
        if not len(self):
            return np.zeros(0, dtype=np.uint64)
        bits = np.left_shift(np.uint64(1), codes[self.members].astype(np.uint64))
        return np.bitwise_or.reduceat(bits, self.member_starts[:-1])


def _names(table: pa.Table) -> Iterable[tuple[int, set[str]]]:
    columns = zip(table["name"].to_pylist(), table["synonyms"].to_pylist(), strict=True)
    for row, (name, synonyms) in enumerate(columns):
        yield row, {normalise_name(text) for text in (name or "", *(synonyms or ()))}


def _folded(
    called: list[tuple[int, set[str]]], keys: dict[str, tuple[str, str]], place: int
) -> Iterable[tuple[str, int, int]]:
    for row, names in called:
        for name in names:
            if name:
                yield keys[name][place], row, 0


def _vocabularies(table: pa.Table) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
    prefixes = [vocabulary_of(id) for id in table["id"].to_pylist()]
    known, codes, counts = np.unique(np.array(prefixes, dtype=object), return_inverse=True, return_counts=True)
    order = np.lexsort((np.arange(len(known)), -counts))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return tuple(known[order].tolist()), np.minimum(ranks[codes], MOST_BITS - 1).astype(np.int16)


def vocabulary_of(id: str) -> str:
    """The prefix that names an id's vocabulary, casefolded: `mesh` of `MESH:D003920`; "" without one."""
    return id.strip().casefold().rpartition(":")[0]
