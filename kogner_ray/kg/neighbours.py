"""The edges of single nodes, and the nodes that a person means by an id or a name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from kogner_ray.kg.names import ID_COLUMNS, bare_id, normalise_name
from kogner_ray.kg.tables import KnowledgeGraph

Direction = Literal["out", "in"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The other end of an edge.

    Attributes:
        row: its node.
        relation: of the edge.
        direction: out where the node asked for is the head.
    """

    row: int
    relation: str
    direction: Direction


class Neighbourhood:
    """Edges by node, sorted once."""

    def __init__(self, kg: KnowledgeGraph) -> None:
        """Sort the edges of `kg` by both ends."""
        self._heads, self._kinds, self._tails = kg.triples.T
        self._relations = kg.relations
        self._by_head, self._by_tail = _Order(self._heads), _Order(self._tails)

    def of(self, row: int) -> Iterator[Neighbour]:
        """The neighbours of a node: those that its edges lead to, then those whose edges lead to it."""
        ways: tuple[tuple[npt.NDArray[np.int64], _Order, Direction], ...] = (
            (self._tails, self._by_head, "out"),
            (self._heads, self._by_tail, "in"),
        )
        for ends, order, direction in ways:
            for edge in order.where(row):
                yield Neighbour(int(ends[edge]), self._relations[int(self._kinds[edge])], direction)

    def by_relation(self, row: int) -> dict[tuple[str, Direction], list[int]]:
        """The same by relation and direction, most neighbours first."""
        groups: dict[tuple[str, Direction], list[int]] = defaultdict(list)
        for neighbour in self.of(row):
            groups[neighbour.relation, neighbour.direction].append(neighbour.row)
        return dict(sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])))


@dataclass(frozen=True)
class Entry:
    """A node with its neighbours.

    Attributes:
        node: its columns.
        degree: its edges.
        relations: "relation" and direction -> number of neighbours, and id, name and type of the first ones.
    """

    node: dict[str, Any]
    degree: int
    relations: tuple[tuple[str, Direction, int, tuple[dict[str, str], ...]], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("relation", "direction", "count", "neighbours")
        relations = [dict(zip(names, group, strict=True)) for group in self.relations]
        return {"node": self.node, "degree": self.degree, "relations": relations}

    def as_table(self) -> Table:
        """A table for the terminal."""
        node = self.node
        synonyms = ", ".join(node.get("synonyms") or [])
        title = f"{node['name']} ({node['id']}, {node['type']}): {self.degree:,} edges"
        table = Table(title=title, caption="\n".join(filter(None, (synonyms, node.get("description")))) or None)
        table.add_column("relation")
        table.add_column("", justify="right")
        table.add_column("neighbours")
        for relation, direction, count, shown in self.relations:
            names = ", ".join(f"{other['name']} ({other['id']})" for other in shown)
            more = f", {count - len(shown):,} more" if count > len(shown) else ""
            table.add_row(f"{'' if direction == 'out' else '<- '}{relation}", f"{count:,}", names + more)
        return table


class Entries:
    """The nodes of a graph, to be looked up one by one."""

    def __init__(self, kg: KnowledgeGraph) -> None:
        """Sort the edges of `kg`."""
        self._kg, self._edges = kg, Neighbourhood(kg)
        self._degrees = np.bincount(kg.triples[:, [0, 2]].ravel(), minlength=kg.n_nodes)

    def find(self, wanted: str) -> list[int]:
        """As `find_nodes`."""
        return find_nodes(self._kg, wanted)

    def entry(self, row: int, *, limit: int) -> Entry:
        """A node with up to `limit` neighbours of each relation and direction, those with the most edges first."""
        groups = []
        for (relation, direction), rows in self._edges.by_relation(row).items():
            best = sorted(rows, key=lambda other: (-self._degrees[other], other))[:limit]
            groups.append((relation, direction, len(rows), tuple(self._about(other) for other in best)))
        node = {name: self._kg.nodes[name][row].as_py() for name in self._kg.nodes.column_names}
        return Entry(node, int(self._degrees[row]), tuple(groups))

    def _about(self, row: int) -> dict[str, str]:
        return {name: self._kg.nodes[name][row].as_py() for name in ("id", "name", "type")}


def find_nodes(kg: KnowledgeGraph, wanted: str) -> list[int]:
    """Rows of the nodes that `wanted` is the id of; else another id; else the name; else a synonym.

    Case, dashes and surrounding punctuation of names do not count (`normalise_name`), nor do Hetionet's kind prefixes
    of ids: `DOID:1438` finds `Disease::DOID:1438`.
    """
    key = bare_id(wanted)
    own = _rows_equal(kg.nodes["id"], wanted)
    if not own:
        own = [row for row in _rows_holding(kg.nodes["id"], key) if bare_id(kg.nodes["id"][row].as_py()) == key]
    others = [name for name in ID_COLUMNS if name in kg.nodes.column_names]
    found = own or sorted({row for name in others for row in _rows_of_id(kg.nodes[name], key)})
    return found or _rows_named(kg.nodes, normalise_name(wanted))


def _rows_named(nodes: pa.Table, key: str) -> list[int]:
    # The longest word of the name is looked for first: normalising every name would take seconds.
    word = max(key.split(), key=len, default="")
    if not word:
        return []
    names, (synonyms, rows) = nodes["name"], _flat(nodes["synonyms"])
    found = [row for row in _rows_holding(names, word) if normalise_name(names[row].as_py()) == key]
    places = [] if found else _rows_holding(synonyms, word)
    return found or sorted({int(rows[at]) for at in places if normalise_name(synonyms[at].as_py()) == key})


def _rows_of_id(column: pa.ChunkedArray, key: str) -> list[int]:
    values, rows = _flat(column)
    return [int(rows[at]) for at in _rows_holding(values, key) if bare_id(values[at].as_py()) == key]


def _flat(column: pa.ChunkedArray) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Values of a column of texts, or of lists of them, and the row of each."""
    if not pa.types.is_list(column.type):
        return column.combine_chunks(), np.arange(len(column), dtype=np.int64)
    whole = column.combine_chunks()
    return pc.list_flatten(whole), np.asarray(pc.list_parent_indices(whole), dtype=np.int64)


def _rows_equal(column: pa.ChunkedArray, value: str) -> list[int]:
    return list(np.flatnonzero(np.asarray(pc.fill_null(pc.equal(column, value), False))).tolist())


def _rows_holding(column: pa.ChunkedArray | pa.Array, part: str) -> list[int]:
    found = pc.match_substring(column.cast(pa.string()), part, ignore_case=True)
    return list(np.flatnonzero(np.asarray(pc.fill_null(found, False))).tolist())


class _Order:
    """Where a value stands in a column."""

    def __init__(self, column: npt.NDArray[np.int64]) -> None:
        self._order = np.argsort(column, kind="stable")
        self._sorted = column[self._order]

    def where(self, value: int) -> npt.NDArray[np.int64]:
        low, high = np.searchsorted(self._sorted, [value, value + 1])
        return self._order[low:high]
