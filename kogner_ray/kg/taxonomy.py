"""What is a kind of what in a KG: its `is_a` edges as a hierarchy of nodes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, read_columns


@dataclass(frozen=True)
class Taxonomy:
    """Nodes with their parents.

    Attributes:
        nodes: the node table; row = node.
        parents: node -> the nodes that it is a kind of; only nodes that have some.
    """

    nodes: pa.Table
    parents: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, nodes: pa.Table, edges: pa.Table, relations: Iterable[str]) -> Taxonomy:
        """The hierarchy that the edges of `relations` (head is a kind of tail) make of `nodes`."""
        kept = edges.filter(pc.is_in(edges["relation"], value_set=pa.array(list(relations), pa.string())))
        rows = {id_: row for row, id_ in enumerate(nodes["id"].to_pylist())}
        parents: dict[int, list[int]] = defaultdict(list)
        for head, tail in zip(kept["head"].to_pylist(), kept["tail"].to_pylist(), strict=True):
            if head in rows and tail in rows and head != tail:
                parents[rows[head]].append(rows[tail])
        return cls(nodes, dict(parents))

    @classmethod
    def read(cls, folder: Path, relations: Iterable[str]) -> Taxonomy:
        """That of a KG folder.

        Raises:
            DataError: a file or column is missing.
        """
        nodes = read_columns(folder / "nodes.parquet", NODE_SCHEMA.names)
        return cls.of(nodes, read_columns(folder / "edges.parquet", EDGE_SCHEMA.names), relations)

    def ancestors(self, row: int) -> set[int]:
        """All nodes that `row` is a kind of, without itself; cycles are walked once."""
        found: set[int] = set()
        waiting = list(self.parents.get(row, ()))
        while waiting:
            parent = waiting.pop()
            if parent not in found:
                found.add(parent)
                waiting.extend(self.parents.get(parent, ()))
        return found - {row}

    def members(self, rows: Iterable[int]) -> Counter[int]:
        """Node -> how many of `rows` are kinds of it."""
        return Counter(ancestor for row in rows for ancestor in self.ancestors(row))

    def names(self, rows: Iterable[int]) -> list[str]:
        """Names of nodes, without those that have none."""
        names = self.nodes["name"]
        return [name for row in rows if (name := names[row].as_py())]
