"""Graphs side by side in one table, and nodes folded into one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kogner_ray.errors import DataError
from kogner_ray.kg.formats.checks import UNKNOWN_TYPE
from kogner_ray.kg.linking import types_alike
from kogner_ray.kg.tables import KnowledgeGraph

_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Joined:
    """Graphs side by side.

    Attributes:
        nodes: all nodes, ids unique.
        source: the graph that each is from, the first one when several have it.
        edges: all edges.
        ends: (E, 2) rows of the heads and tails.
        same_ids: nodes that an earlier graph had.
        renamed: nodes given another id.
    """

    nodes: pa.Table
    source: list[int]
    edges: pa.Table
    ends: _Rows
    same_ids: int
    renamed: int


def join_graphs(graphs: Sequence[KnowledgeGraph], names: Sequence[str]) -> Joined:
    """The nodes of all graphs in one table, ids unique, and their edges by row.

    Raises:
        DataError: columns of the same name hold different things.
    """
    nodes = _concatenated([_labelled(graph.nodes, [name]) for graph, name in zip(graphs, names, strict=True)])
    edges = _concatenated([_labelled(graph.edges, name) for graph, name in zip(graphs, names, strict=True)])
    source = np.repeat(np.arange(len(graphs)), [graph.n_nodes for graph in graphs])
    starts = np.cumsum([0, *(graph.n_nodes for graph in graphs)])
    ends = np.concatenate([g.triples[:, [0, 2]] + start for g, start in zip(graphs, starts, strict=False)])
    first, ids, renamed = _first_rows(nodes, source, names)
    nodes = nodes.set_column(nodes.column_names.index("id"), "id", pa.array(ids, pa.string()))
    folded, place = fold(nodes, first)
    same_ids = int((first != np.arange(len(first))).sum()) + renamed
    kept = first == np.arange(len(first))
    return Joined(folded, source[kept].tolist(), edges, place[ends], same_ids, renamed)


def fold(nodes: pa.Table, first: _Rows) -> tuple[pa.Table, _Rows]:
    """One node for each value of `first`: that row, with names, ids and whatever else it lacks from the others.

    Args:
        nodes: a node table.
        first: (N,) the row that each row becomes part of; of a first row, itself.

    Returns:
        The table of first rows in their order, and the new row of each old one.
    """
    kept = first == np.arange(len(first))
    place = np.cumsum(kept) - 1
    if kept.all():
        return nodes, place
    groups: dict[int, list[int]] = {}
    for row in np.flatnonzero(~kept).tolist():
        groups.setdefault(int(first[row]), []).append(row)
    columns = {
        name: _folded(nodes, name, groups).filter(pa.array(kept)) for name in _FOLDED if name in _with_xrefs(nodes)
    }
    others = {name: nodes[name].filter(pa.array(kept)) for name in nodes.column_names if name not in columns}
    order = [*nodes.column_names, *(name for name in columns if name not in nodes.column_names)]
    return pa.table({name: (columns | others)[name] for name in order}), place[first]


_FOLDED = ("type", "synonyms", "description", "xrefs", "kg")


def _with_xrefs(nodes: pa.Table) -> set[str]:
    return {*nodes.column_names, "xrefs"}


def _folded(nodes: pa.Table, name: str, groups: dict[int, list[int]]) -> pa.Array:
    lists = pa.list_(pa.string())
    if name in ("type", "description"):
        nothing = ("", None, UNKNOWN_TYPE) if name == "type" else ("", None)
        values = nodes[name].to_pylist()
        for row, others in groups.items():
            if values[row] in nothing:
                values[row] = next((values[other] for other in others if values[other] not in nothing), values[row])
        return pa.array(values, pa.string())
    own = nodes[name].to_pylist() if name in nodes.column_names else [[]] * nodes.num_rows
    more = {column: nodes[column].to_pylist() for column in _MORE[name] if column in nodes.column_names}
    alone = _ALONE.get(name)
    for row, others in groups.items():
        found = dict.fromkeys(own[row] or ())
        for other in others:
            found |= dict.fromkeys([*(column[other] for column in more.values()), *(own[other] or ())])
        excluded = {None, "", nodes[alone][row].as_py()} if alone else {None, ""}
        own[row] = [value for value in found if value not in excluded]
    return pa.array(own, lists)


_MORE: dict[str, tuple[str, ...]] = {"synonyms": ("name",), "xrefs": ("id", "curie"), "kg": ()}
_ALONE = {"synonyms": "name", "xrefs": "id"}
"""Column of which the first row's value is not repeated in the list."""


def _first_rows(nodes: pa.Table, source: _Rows, names: Sequence[str]) -> tuple[_Rows, list[str], int]:
    """The first row of each row's id, the ids as they will be, and how many had to be changed."""
    ids, types = nodes["id"].to_pylist(), nodes["type"].to_pylist()
    seen: dict[str, int] = {}
    first = np.arange(len(ids), dtype=np.int64)
    renamed = 0
    for row, own in enumerate(ids):
        other = seen.setdefault(own, row)
        if other == row:
            continue
        if UNKNOWN_TYPE in (types[row], types[other]) or types_alike(types[row], types[other]):
            first[row] = other
        else:
            ids[row] = f"{names[source[row]]}/{own}"
            seen.setdefault(ids[row], row)
            renamed += 1
    return first, ids, renamed


def _labelled(table: pa.Table, value: str | list[str]) -> pa.Table:
    """`table` with plain types and a column `kg`."""
    kind = pa.string() if isinstance(value, str) else pa.list_(pa.string())
    columns = {name: _plain(table[name]) for name in table.column_names if name not in ("degree", "kg")}
    return pa.table(columns | {"kg": pa.array([value] * table.num_rows, kind)})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as `string` and lists of them as `list<string>`, however they are encoded."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_type
        return (
            column.cast(pa.list_(pa.string()))
            if pa.types.is_string(inner) or pa.types.is_large_string(inner)
            else column
        )
    return column.cast(pa.string()) if pa.types.is_string(kind) or pa.types.is_large_string(kind) else column


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise DataError(f"columns of the same name hold different things in the graphs: {error}") from error
