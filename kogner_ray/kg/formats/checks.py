"""Raw rows to a `KnowledgeGraph`: every irregular row is left out, repaired or kept by a stated rule, and counted.

| row | rule |
|---|---|
| node without an id, node whose id came before | left out (the first one stays) |
| node without a name | repaired: its first synonym, else its id, is its name |
| node without a type | repaired: its type is `Unknown` |
| edge without a head, relation or tail | left out |
| edge of a relation that the relation list lacks | left out (Hetionet: kept) |
| edge with an end that is no node | left out |
| edge that came before (same head, relation, tail) | left out |
| edge from a node to itself | kept |
| edge of a hierarchy (`is_a`) on a cycle | kept |
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from kogner_ray.kg.formats.delimited import RawTable
from kogner_ray.kg.formats.report import N_EXAMPLES, Action, Issues, ReadReport
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, KnowledgeGraph

UNKNOWN_TYPE = "Unknown"
"""Type of a node whose file gives it none."""

HIERARCHIES = frozenset({"is_a", "is a", "isa", "subclassof", "subclass_of", "subclass of"})
"""Relations, in lower case, that may not lead back to where they began; edges on such a cycle are kept and counted."""

_Mask = npt.NDArray[np.bool_]


def note(issues: Issues, kind: str, action: Action, raw: RawTable, rows: _Mask, column: str) -> None:
    """Count `rows` of `raw` and show the first few by `column`; in strict mode refuse them unless they are kept."""
    indices = np.flatnonzero(rows)
    if len(indices):
        first = [(*raw.place(row), f"{column} {raw.table[column][row].as_py()!r}") for row in indices[:N_EXAMPLES]]
        issues.add_rows(kind, action, first, count=len(indices))


def assemble(
    nodes: RawTable | None,
    edges: RawTable,
    *,
    relations: Collection[str] | None = None,
    unlisted: Action = "left out",
    issues: Issues | None = None,
    strict: bool = False,
) -> tuple[KnowledgeGraph, ReadReport]:
    """Check raw rows and make them canonical; the rules are this module's docstring.

    Args:
        nodes: columns id and name, optionally type, synonyms (lists), description and others; None makes the nodes from
            the edges' ends.
        edges: columns head, relation, tail and others.
        relations: the known relations, when there is a list of them.
        unlisted: what becomes of an edge whose relation is not among them.
        issues: what the reader itself has found so far; it comes first in the report, and says whether to be strict.
        strict: refuse the first irregular row instead.

    Raises:
        DataError: in strict mode, an irregular row, by file and line.
    """
    issues = issues or Issues(strict)
    edges = edges.with_table(_canonical(edges.table, EDGE_SCHEMA))
    edge_rows = edges.table.num_rows
    edges = _with_ends(edges, issues)
    if relations is not None:
        edges = _with_known_relation(edges, relations, unlisted, issues)
    node_table = _nodes_of(edges.table) if nodes is None else _clean_nodes(nodes, issues)
    edge_table = _clean_edges(edges, node_table["id"], issues)
    report = ReadReport(
        source=str(edges.path),
        node_rows=0 if nodes is None else nodes.table.num_rows,
        edge_rows=edge_rows,
        nodes=node_table.num_rows,
        edges=edge_table.num_rows,
        issues=issues.found(),
    )
    return KnowledgeGraph(node_table, edge_table), report


def _clean_nodes(raw: RawTable, issues: Issues) -> pa.Table:
    raw = raw.with_table(_canonical(raw.table, NODE_SCHEMA))
    nameless_id = _equals(raw.table["id"], "")
    note(issues, "empty id", "left out", raw, nameless_id, "name")
    raw = _keep(raw, ~nameless_id)
    repeated = _repeats(_codes(raw.table["id"]))
    note(issues, "duplicate id", "left out", raw, repeated, "id")
    raw = _keep(raw, ~repeated)

    nameless = _equals(pc.utf8_trim_whitespace(raw.table["name"]), "")
    note(issues, "empty name", "repaired", raw, nameless, "id")
    typeless = _equals(raw.table["type"], "")
    note(issues, "unknown node type", "repaired", raw, typeless, "id")
    table = raw.table
    if nameless.any():
        first_synonym = [next(iter(synonyms), "") for synonyms in table["synonyms"].to_pylist()]
        substitute = [synonym or own for synonym, own in zip(first_synonym, table["id"].to_pylist(), strict=True)]
        table = _replace(table, "name", pc.if_else(pa.array(nameless), pa.array(substitute), _array(table["name"])))
    return _replace(table, "type", pc.if_else(pa.array(typeless), UNKNOWN_TYPE, _array(table["type"])))


def _with_ends(raw: RawTable, issues: Issues) -> RawTable:
    for column, shown in (("head", "tail"), ("tail", "head"), ("relation", "head")):
        empty = _equals(raw.table[column], "")
        note(issues, f"edge without a {column}", "left out", raw, empty, shown)
        raw = _keep(raw, ~empty)
    return raw


def _with_known_relation(raw: RawTable, known: Collection[str], unlisted: Action, issues: Issues) -> RawTable:
    unknown = ~_mask(pc.is_in(raw.table["relation"], value_set=pa.array(sorted(known), pa.string())))
    note(issues, f"unknown relation ({len(known)} known)", unlisted, raw, unknown, "relation")
    return raw if unlisted == "kept" else _keep(raw, ~unknown)


def _clean_edges(raw: RawTable, ids: pa.ChunkedArray, issues: Issues) -> pa.Table:
    known = _array(ids)
    for column in ("head", "tail"):
        dangling = ~_mask(pc.is_in(raw.table[column], value_set=known))
        note(issues, f"dangling edge ({column} is no node)", "left out", raw, dangling, column)
        raw = _keep(raw, ~dangling)
    heads, tails = (_mask_codes(pc.index_in(raw.table[column], value_set=known)) for column in ("head", "tail"))
    # Two steps, so that the product stays below 2^63 for any number of nodes and relations.
    pairs = np.unique(heads * max(len(known), 1) + tails, return_inverse=True)[1]
    relations = _codes(raw.table["relation"])
    repeated = _repeats(pairs * (int(relations.max(initial=0)) + 1) + relations)
    note(issues, "duplicate edge", "left out", raw, repeated, "head")
    note(issues, "self loop", "kept", raw, (heads == tails) & ~repeated, "head")
    raw, kept = _keep(raw, ~repeated), ~repeated
    note(issues, "cyclic hierarchy", "kept", raw, _on_cycle(raw, heads[kept], tails[kept], len(known)), "head")
    return raw.table


def _on_cycle(raw: RawTable, heads: npt.NDArray[np.int64], tails: npt.NDArray[np.int64], n_nodes: int) -> _Mask:
    """Which edges of hierarchies lie on a cycle of more than one node."""
    names = [name for name in pc.unique(raw.table["relation"]).to_pylist() if name.casefold() in HIERARCHIES]
    if not names:
        return np.zeros(len(heads), dtype=bool)
    rows = _mask(pc.is_in(raw.table["relation"], value_set=pa.array(names, pa.string())))
    ends = (heads[rows], tails[rows])
    graph = coo_matrix((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(n_nodes, n_nodes))
    components = connected_components(graph, directed=True, connection="strong")[1]
    return _mask(rows & (heads != tails) & (components[heads] == components[tails]))


def _nodes_of(edges: pa.Table) -> pa.Table:
    """Nodes from the edges' ends: the type is the id's part before `::`, or an edge column `head_type`/`tail_type`."""
    types: dict[str, str] = {}
    for column in ("head", "tail"):
        stated = f"{column}_type"
        given = edges[stated].to_pylist() if stated in edges.column_names else [""] * edges.num_rows
        for own, type in zip(edges[column].to_pylist(), given, strict=True):
            types[own] = types.get(own) or type or own.rpartition("::")[0]
    ids = list(types)
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "name": pa.array(ids, pa.string()),
            "type": pa.array([type or UNKNOWN_TYPE for type in types.values()], pa.string()),
            "synonyms": pa.array([[] for _ in ids], pa.list_(pa.string())),
            "description": pa.array([""] * len(ids), pa.string()),
        },
        schema=NODE_SCHEMA,
    )


def _canonical(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the schema's columns first, of its types and without nulls; other columns follow as they are."""
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for column in schema:
        if pa.types.is_list(column.type):
            columns[column.name] = _filled_lists(table, column.name)
        elif column.name in table.column_names:
            columns[column.name] = pc.fill_null(_plain(table[column.name]), "")
        else:
            columns[column.name] = pa.array([""] * table.num_rows, pa.string())
    others = {name: table[name] for name in table.column_names if name not in columns}
    return pa.table(columns | others)


def _filled_lists(table: pa.Table, column: str) -> pa.Array | pa.ChunkedArray:
    if column not in table.column_names:
        return pa.array([[]] * table.num_rows, pa.list_(pa.string()))
    values = table[column].cast(pa.list_(pa.string()))
    return pc.if_else(pc.is_valid(values), values, pa.scalar([], pa.list_(pa.string())))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _keep(raw: RawTable, rows: _Mask) -> RawTable:
    return raw if rows.all() else raw.keep(rows)


def _replace(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _repeats(codes: npt.NDArray[np.int64]) -> _Mask:
    again = np.ones(len(codes), dtype=bool)
    again[np.unique(codes, return_index=True)[1]] = False
    return again


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return _mask_codes(_array(column).dictionary_encode().indices)


def _mask_codes(indices: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(indices, dtype=np.int64)


def _equals(column: pa.ChunkedArray, value: str) -> _Mask:
    return _mask(pc.equal(column, value))


def _mask(values: Any) -> _Mask:
    return np.asarray(values, dtype=bool)


def _array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
