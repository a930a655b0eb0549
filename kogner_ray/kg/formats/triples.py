"""Generic triples, TSV or CSV, plain or gzip: head, relation, tail; with or without a header and a node file.

With a header, columns are found by name (`ALIASES`) and all others are kept; without one there must be three.
A node file has a header with at least `id`; `synonyms` are separated by `|`, other columns are kept.
`relations.tsv` beside the edges lists the allowed relations. Without a node file the nodes are the edges' ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from kogner_ray.errors import DataError
from kogner_ray.kg.formats.checks import assemble
from kogner_ray.kg.formats.delimited import RawTable, read_delimited
from kogner_ray.kg.formats.report import ReadReport
from kogner_ray.kg.tables import KnowledgeGraph

ALIASES = {
    "head": ("head", "head_id", "source", "subject", "from", "h"),
    "relation": ("relation", "predicate", "relationship", "rel", "edge_type", "r"),
    "tail": ("tail", "tail_id", "target", "object", "to", "t"),
}
"""Canonical column -> header names (in any case) that mean it, most telling first."""

_NODE_ALIASES = {
    "id": ("id", "node_id", "entity", "identifier"),
    "name": ("name", "label", "node_name"),
    "type": ("type", "kind", "node_type", "category"),
    "synonyms": ("synonyms", "synonym", "aliases"),
    "description": ("description", "definition"),
}


def read(
    edges: str | Path, *, nodes: str | Path | None = None, relations: str | Path | None = None, strict: bool = False
) -> tuple[KnowledgeGraph, ReadReport]:
    """Read a graph of triples.

    Args:
        edges: the triples, or a folder with `edges.{tsv,csv}` or `triples.{tsv,csv}` (also `.gz`).
        nodes: the node file; in a folder `nodes.*` when left out.
        relations: allowed relations, one a line; in a folder `relations.*` when left out.
        strict: refuse the first irregular row instead of counting it.

    Raises:
        DataError: a file is missing or malformed (with its line); in strict mode, an irregular row.
    """
    source = Path(edges)
    if source.is_dir():
        edge_file = _find(source, "edges") or _find(source, "triples")
        if edge_file is None:
            raise DataError("expected a file edges.tsv, edges.csv, triples.tsv or triples.csv (or .gz)", path=source)
        nodes, relations = nodes or _find(source, "nodes"), relations or _find(source, "relations")
    else:
        edge_file = source
    return assemble(
        None if nodes is None else _read_nodes(Path(nodes)),
        _read_edges(edge_file),
        relations=None if relations is None else _read_relations(Path(relations)),
        strict=strict,
    )


def _read_edges(path: Path) -> RawTable:
    raw = read_delimited(path, lambda cells: _canonical_names(cells, ALIASES, needed=("head", "relation", "tail")))
    names = raw.table.column_names
    if "head" in names:
        return raw
    if len(names) != 3:
        expected = "a header with head, relation and tail, or exactly 3 columns"
        raise DataError(f"expected {expected}, found {len(names)} columns without such a header", path=path, line=1)
    return raw.with_columns(["head", "relation", "tail"])


def _read_nodes(path: Path) -> RawTable:
    raw = read_delimited(path, lambda cells: _canonical_names(cells, _NODE_ALIASES, needed=("id",)) or cells)
    names = raw.table.column_names
    if "id" not in names:
        raise DataError(f"expected a header with at least 'id', found {names}", path=path, line=1)
    if "synonyms" not in names:
        return raw
    lists = pa.array([split_synonyms(cell) for cell in raw.table["synonyms"].to_pylist()], pa.list_(pa.string()))
    return raw.with_table(raw.table.set_column(names.index("synonyms"), "synonyms", lists))


def split_synonyms(cell: str) -> list[str]:
    """The distinct, non-empty parts of `cell` between `|`, in their order."""
    return list(dict.fromkeys(part.strip() for part in cell.split("|") if part.strip()))


def _read_relations(path: Path) -> set[str]:
    raw = read_delimited(path, lambda cells: cells if cells[0].lower() in ALIASES["relation"] else None)
    return set(raw.table.column(0).to_pylist())


def _canonical_names(
    cells: list[str], aliases: Mapping[str, tuple[str, ...]], *, needed: tuple[str, ...]
) -> list[str] | None:
    """`cells` with known names made canonical, or None unless all `needed` ones are among them."""
    lowered = [cell.lower() for cell in cells]
    renamed = list(cells)
    for canonical, names in aliases.items():
        found = next((lowered.index(name) for name in names if name in lowered), None)
        if found is not None:
            renamed[found] = canonical
        elif canonical in needed:
            return None
    return renamed


def _find(folder: Path, stem: str) -> Path | None:
    names = [f"{stem}{suffix}{gz}" for suffix in (".tsv", ".csv", ".txt") for gz in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)
