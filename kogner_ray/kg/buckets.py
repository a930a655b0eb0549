"""The triples of a knowledge graph cut for training that holds two parts of its nodes in memory at a time.

    buckets/
      meta.json       BucketMeta
      nodes.npy       (N,) row in the KG of each linked node; by part and, within one, by type
      ranges.npy      (P, T + 1) where the nodes of each type begin within each part
      triples.npy     (E, 3) int32 head, relation, tail; by bucket and, within one, by relation
      sides.npy       (R, 2, T) whether a type occurs at the head, at the tail of a relation

Nodes go into P parts at random, each type evenly. A bucket is a pair of parts {a, b} and holds the triples between the
two; those within one part are dealt out to the P - 1 buckets that it belongs to. A triple's ends are rows of its pair:
those of b follow the *capacity* of a part, so that both can be read into fixed places. Lerer et al. 2019 (PBG) cut
likewise, into P^2 ordered pairs. Nodes without triples are in no part.

Dimensions: N linked nodes, E triples, R relations, P parts, T node types.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kogner_ray.errors import DataError
from kogner_ray.kg.folder import whole_folder

IntArray = npt.NDArray[np.int64]
Pair = tuple[int, int]

_CHUNK = 1 << 22
_ARRAYS = ("nodes", "ranges", "triples", "sides")


@dataclass(frozen=True)
class BucketMeta:
    """What a folder of buckets holds.

    Attributes:
        n_parts: P.
        n_relations: R.
        n_nodes: nodes of the KG, unlinked ones included.
        capacity: nodes of the largest part.
        triples: of each bucket, in the order of `pairs`.
    """

    n_parts: int
    n_relations: int
    n_nodes: int
    capacity: int
    triples: list[int]


@dataclass(frozen=True)
class Buckets:
    """A folder of buckets; its arrays are mapped, not read.

    Attributes:
        meta: sizes.
        nodes: (N,) row in the KG of each linked node.
        ranges: (P, T + 1) within each part, type t has the rows `ranges[p, t]` to `ranges[p, t + 1]`.
        triples: (E, 3) int32.
        sides: (R, 2, T) types seen at each side of each relation.
    """

    meta: BucketMeta
    nodes: IntArray
    ranges: IntArray
    triples: npt.NDArray[np.int32]
    sides: npt.NDArray[np.bool_]

    @classmethod
    def open(cls, folder: str | Path) -> Buckets:
        """Map what `write_buckets` wrote.

        Raises:
            DataError: a file is missing or damaged.
        """
        try:
            meta = BucketMeta(**json.loads(Path(folder, "meta.json").read_text(encoding="utf-8")))
            arrays = {name: np.load(Path(folder, f"{name}.npy"), mmap_mode="r") for name in _ARRAYS}
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"not a complete folder of buckets: {error}", path=Path(folder)) from error
        return cls(meta, **arrays)

    @property
    def pairs(self) -> list[Pair]:
        """The parts of each bucket; a KG in one part is one bucket, (0, 0)."""
        return pairs_of(self.meta.n_parts)

    def of(self, index: int) -> npt.NDArray[np.int32]:
        """Triples of a bucket, (E_b, 3), sorted by relation; ends are rows of its pair."""
        start = sum(self.meta.triples[:index])
        return self.triples[start : start + self.meta.triples[index]]

    def part(self, index: int) -> IntArray:
        """Row in the KG of each node of a part."""
        sizes = self.ranges[:, -1]
        return self.nodes[sizes[:index].sum() : sizes[: index + 1].sum()]


def pairs_of(n_parts: int) -> list[Pair]:
    """Every pair of parts, a < b; (0, 0) where there is one part."""
    return list(combinations(range(n_parts), 2)) or [(0, 0)]


def write_buckets(
    triples: IntArray, folder: str | Path, *, n_parts: int, n_relations: int, node_types: IntArray, seed: int
) -> Buckets:
    """Cut `triples` and write the folder; it appears whole or not at all.

    Beside the result it takes some 16 bytes a node of the KG; triples are read in chunks and may be memory-mapped.

    Args:
        triples: (E, 3) head, relation, tail.
        folder: to write; an older one is replaced.
        n_parts: P; a part may stay empty.
        n_relations: R.
        node_types: type index of each node of the KG.
        seed: of the parts.

    Raises:
        DataError: there are no triples.
        CheckpointError: the folder cannot be written, or holds something else.
    """
    if not len(triples):
        raise DataError("a graph without triples cannot be cut into buckets", path=Path(folder))
    place, nodes, ranges = _place_nodes(triples, n_parts=n_parts, node_types=node_types, seed=seed)
    capacity = int(ranges[:, -1].max(initial=0))
    cut = _Cut(triples, place, n_parts=n_parts, capacity=capacity)
    counts = np.sum([np.bincount(buckets, minlength=len(cut.pairs)) for buckets, _ in cut.chunks()], axis=0)
    sides = np.zeros((n_relations, 2, ranges.shape[1] - 1), dtype=bool)
    with whole_folder(folder, marker="meta.json") as partial:
        mapped = np.lib.format.open_memmap(partial / "triples.npy", mode="w+", dtype=np.int32, shape=triples.shape)
        free = np.cumsum(counts) - counts
        for (buckets, rows), chunk in zip(cut.chunks(), _chunks(triples), strict=True):
            order = np.argsort(buckets, kind="stable")
            found = np.bincount(buckets, minlength=len(counts))
            # within a chunk the k-th triple of a bucket goes k places after the first free one
            mapped[np.repeat(free - np.cumsum(found) + found, found) + np.arange(len(order))] = rows[order]
            free += found
            for side, column in enumerate((0, 2)):
                sides[chunk[:, 1], side, node_types[chunk[:, column]]] = True
        for last, count in zip(np.cumsum(counts), counts, strict=True):
            bucket = mapped[last - count : last]
            bucket[:] = bucket[np.argsort(bucket[:, 1], kind="stable")]
        mapped.flush()
        for name, array in (("nodes", nodes), ("ranges", ranges), ("sides", sides)):
            np.save(partial / f"{name}.npy", array)
        meta = BucketMeta(n_parts, n_relations, len(node_types), capacity, counts.tolist())
        (partial / "meta.json").write_text(json.dumps(asdict(meta)), encoding="utf-8")
    return Buckets.open(folder)


@dataclass(frozen=True)
class _Places:
    """Where each node of the KG went: part, and row in it; -1 for an unlinked one."""

    part: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]


def _place_nodes(
    triples: IntArray, *, n_parts: int, node_types: IntArray, seed: int
) -> tuple[_Places, IntArray, IntArray]:
    linked = np.zeros(len(node_types), dtype=bool)
    for chunk in _chunks(triples):
        linked[chunk[:, 0]] = linked[chunk[:, 2]] = True
    nodes = np.random.default_rng(seed).permutation(np.flatnonzero(linked))
    nodes = nodes[np.argsort(node_types[nodes], kind="stable")]
    # dealt out in turn over all types: no part is more than one node larger than another
    part = np.arange(len(nodes), dtype=np.int64) % n_parts
    order = np.argsort(part, kind="stable")
    nodes, part = nodes[order], part[order]
    n_types = int(node_types.max(initial=0)) + 1
    counts = np.bincount(part * n_types + node_types[nodes], minlength=n_parts * n_types).reshape(n_parts, n_types)
    ranges = np.concatenate([np.zeros((n_parts, 1), dtype=np.int64), np.cumsum(counts, axis=1)], axis=1)
    places = _Places(*(np.full(len(node_types), -1, dtype=np.int32) for _ in range(2)))
    places.part[nodes] = part
    places.row[nodes] = np.arange(len(nodes)) - (np.cumsum(ranges[:, -1]) - ranges[:, -1])[part]
    return places, nodes, ranges


class _Cut:
    """Which bucket each triple belongs to, and its ends as rows of the pair."""

    def __init__(self, triples: IntArray, places: _Places, *, n_parts: int, capacity: int) -> None:
        self._triples, self._places, self._n_parts, self._capacity = triples, places, n_parts, capacity
        self.pairs = pairs_of(n_parts)
        self._number = np.zeros((n_parts, n_parts), dtype=np.int64)
        for index, (a, b) in enumerate(self.pairs):
            self._number[a, b] = self._number[b, a] = index

    def chunks(self) -> Iterator[tuple[IntArray, npt.NDArray[np.int32]]]:
        """Bucket of each triple, and the triple, chunk by chunk."""
        dealt = 0
        for chunk in _chunks(self._triples):
            heads, tails = self._places.part[chunk[:, 0]], self._places.part[chunk[:, 2]]
            other = tails.copy()
            if self._n_parts > 1:
                # a triple within one part goes to each bucket of that part in turn
                within = np.flatnonzero(heads == tails)
                turn = (dealt + np.arange(len(within))) % (self._n_parts - 1)
                other[within] = (heads[within] + 1 + turn) % self._n_parts
                dealt += len(within)
            second = np.maximum(heads, other)
            rows = np.stack([self._places.row[chunk[:, 0]], chunk[:, 1], self._places.row[chunk[:, 2]]], axis=1)
            rows = rows.astype(np.int32)
            if self._n_parts > 1:
                rows[heads == second, 0] += self._capacity
                rows[tails == second, 2] += self._capacity
            yield self._number[heads, other], rows


def _chunks(triples: IntArray) -> Iterator[IntArray]:
    for start in range(0, len(triples), _CHUNK):
        yield triples[start : start + _CHUNK]
