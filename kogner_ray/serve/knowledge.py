"""Entries of the knowledge graph with their neighbours, as `/v1/entities` shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kogner_ray.kg.tables import KnowledgeGraph, read_kg

MOST_NEIGHBOURS = 50


class Knowledge:
    """A checkpoint's entities and, where a KG's folder is given, what they are joined to."""

    def __init__(self, entities: pa.Table | None, kg: str | None) -> None:
        """`entities`: table with id, name, type and synonyms; `kg`: folder of nodes and edges."""
        self._kg: KnowledgeGraph | None = None if kg is None else read_kg(Path(kg))
        table = self._kg.nodes if self._kg is not None else entities
        self._table = table
        self._edges = None if self._kg is None else _Edges(self._kg)

    def entry(self, id: str) -> dict[str, Any] | None:
        """As `KgEntityBody`; None for an unknown id."""
        # A scan takes a millisecond or two; a dict of a large KG's ids would be built at every start of a replica.
        row = -1 if self._table is None else pc.index(self._table["id"], pa.scalar(id, pa.string())).as_py()
        if self._table is None or row < 0:
            return None
        found = self._about(row) | {"synonyms": self._table["synonyms"][row].as_py() or []}
        neighbours = [] if self._edges is None else list(self._edges.of(row))
        shown = [
            self._about(other) | {"relation": relation, "direction": direction}
            for other, relation, direction in neighbours[:MOST_NEIGHBOURS]
        ]
        return found | {"n_neighbours": len(neighbours), "neighbours": shown}

    def _about(self, row: int) -> dict[str, Any]:
        assert self._table is not None
        return {name: self._table[name][row].as_py() for name in ("id", "name", "type")}


class _Edges:
    """Edges by node."""

    def __init__(self, kg: KnowledgeGraph) -> None:
        self._heads, self._kinds, self._tails = kg.triples.T
        self._relations = kg.relations
        self._by_head, self._by_tail = _Order(self._heads), _Order(self._tails)

    def of(self, row: int) -> Iterator[tuple[int, str, str]]:
        """Other node, relation and direction of each edge."""
        for ends, edges, direction in (
            (self._tails, self._by_head.where(row), "out"),
            (self._heads, self._by_tail.where(row), "in"),
        ):
            for edge in edges:
                yield int(ends[edge]), self._relations[int(self._kinds[edge])], direction


class _Order:
    """Where a value stands in a column."""

    def __init__(self, column: npt.NDArray[np.int64]) -> None:
        self._order = np.argsort(column, kind="stable")
        self._sorted = column[self._order]

    def where(self, value: int) -> npt.NDArray[np.int64]:
        low, high = np.searchsorted(self._sorted, [value, value + 1])
        return self._order[low:high]
