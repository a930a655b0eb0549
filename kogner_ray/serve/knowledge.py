"""Entries of the knowledge graph with their neighbours, as `/v1/entities` shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kogner_ray.kg.neighbours import Neighbourhood
from kogner_ray.kg.tables import KnowledgeGraph, read_kg

MOST_NEIGHBOURS = 50


class Knowledge:
    """A checkpoint's entities and, where a KG's folder is given, what they are joined to."""

    def __init__(self, entities: pa.Table | None, kg: str | None) -> None:
        """`entities`: table with id, name, type and synonyms; `kg`: folder of nodes and edges."""
        self._kg: KnowledgeGraph | None = None if kg is None else read_kg(Path(kg))
        table = self._kg.nodes if self._kg is not None else entities
        self._table = table
        self._edges = None if self._kg is None else Neighbourhood(self._kg)

    def entry(self, id: str) -> dict[str, Any] | None:
        """As `KgEntityBody`; None for an unknown id."""
        # A scan takes a millisecond or two; a dict of a large KG's ids would be built at every start of a replica.
        row = -1 if self._table is None else pc.index(self._table["id"], pa.scalar(id, pa.string())).as_py()
        if self._table is None or row < 0:
            return None
        found = self._about(row) | {"synonyms": self._table["synonyms"][row].as_py() or []}
        neighbours = [] if self._edges is None else list(self._edges.of(row))
        shown = [
            self._about(other.row) | {"relation": other.relation, "direction": other.direction}
            for other in neighbours[:MOST_NEIGHBOURS]
        ]
        return found | {"n_neighbours": len(neighbours), "neighbours": shown}

    def _about(self, row: int) -> dict[str, Any]:
        assert self._table is not None
        return {name: self._table[name][row].as_py() for name in ("id", "name", "type")}
