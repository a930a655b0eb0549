"""The canonical knowledge graph: two Parquet tables in a folder.

`nodes.parquet` (id, name, type, synonyms, description) and `edges.parquet` (head, relation, tail); columns beyond
these are kept. In memory a `KnowledgeGraph` holds both tables and the integer view that the teacher works on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kogner_ray.errors import DataError

NODE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("type", pa.string()),
        ("synonyms", pa.list_(pa.string())),
        ("description", pa.string()),
    ]
)
EDGE_SCHEMA = pa.schema([("head", pa.string()), ("relation", pa.string()), ("tail", pa.string())])


@dataclass(frozen=True)
class KnowledgeGraph:
    """A knowledge graph whose every edge joins two of its nodes.

    Attributes:
        nodes: table with at least the columns of `NODE_SCHEMA`; row number = node index.
        edges: table with at least the columns of `EDGE_SCHEMA`.
    """

    nodes: pa.Table
    edges: pa.Table

    @property
    def n_nodes(self) -> int:
        """Number of nodes N."""
        return int(self.nodes.num_rows)

    @property
    def n_edges(self) -> int:
        """Number of edges E."""
        return int(self.edges.num_rows)

    @cached_property
    def ids(self) -> list[str]:
        """Node ids in row order."""
        return list(self.nodes["id"].to_pylist())

    @cached_property
    def types(self) -> list[str]:
        """Distinct node types, sorted; position = type index."""
        return sorted(pc.unique(self.nodes["type"]).to_pylist())

    @cached_property
    def relations(self) -> list[str]:
        """Distinct relations, sorted; position = relation index."""
        return sorted(pc.unique(self.edges["relation"]).to_pylist())

    @cached_property
    def node_types(self) -> npt.NDArray[np.int64]:
        """Type index of each node, (N,)."""
        return _index_in(self.nodes["type"], pa.array(self.types, pa.string()))

    @cached_property
    def triples(self) -> npt.NDArray[np.int64]:
        """Edges as (E, 3) integers: head node, relation, tail node."""
        ids = self.nodes["id"].combine_chunks()
        relations = pa.array(self.relations, pa.string())
        columns = [("head", ids), ("relation", relations), ("tail", ids)]
        return np.stack([_index_in(self.edges[name], values) for name, values in columns], axis=1)

    def write(self, folder: str | Path) -> Path:
        """Write both tables into `folder` (made when missing); each appears whole or not at all."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name, table in (("nodes", self.nodes), ("edges", self.edges)):
            partial = target / f".{name}.parquet.partial"
            pq.write_table(table, partial, compression="zstd")
            partial.replace(target / f"{name}.parquet")
        return target


def read_kg(folder: str | Path) -> KnowledgeGraph:
    """Read `nodes.parquet` and `edges.parquet` of `folder` and check them.

    Raises:
        DataError: a file or column is missing, a node id occurs twice, or an edge's end is no node. (To repair such
            tables rather than refuse them, see `kogner_ray.kg.formats`.)
    """
    tables = [read_columns(Path(folder) / f"{name}.parquet", schema.names) for name, schema in _FILES]
    kg = KnowledgeGraph(*tables)
    check_kg(kg, where=Path(folder))
    return kg


def check_kg(kg: KnowledgeGraph, *, where: Path | None = None) -> None:
    """Raise `DataError` unless ids are unique and non-empty, and every edge's ends are nodes."""
    ids = kg.nodes["id"]
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        first = repeated[0]["values"].as_py()
        message = f"{len(repeated)} node ids occur more than once, first {first!r}; expected unique ids"
        raise DataError(message, path=where)
    for column in ("head", "tail"):
        outside = pc.invert(pc.is_in(kg.edges[column], value_set=ids.combine_chunks()))
        n_outside = pc.sum(outside).as_py() or 0
        if n_outside:
            row = pc.index(outside, True).as_py()
            value = kg.edges[column][row].as_py()
            message = f"{n_outside} edges have a {column} that is no node, first {value!r}"
            raise DataError(message, path=where, line=row + 1)


REVERSE = "reverse "
"""Prefix of the name of a reversed relation."""


def with_reverse(triples: npt.NDArray[np.int64], n_relations: int) -> npt.NDArray[np.int64]:
    """(E, 3) triples and, after them, each reversed with its relation shifted by `n_relations`: (2E, 3)."""
    return np.concatenate([triples, triples[:, ::-1] + np.array([0, n_relations, 0])])


def reversed_names(relations: list[str]) -> list[str]:
    """Relation names followed by those of the reversed relations."""
    return [*relations, *(REVERSE + name for name in relations)]


_FILES = (("nodes", NODE_SCHEMA), ("edges", EDGE_SCHEMA))


def read_columns(path: Path, needed: list[str]) -> pa.Table:
    """One Parquet file of a KG folder, all of its columns.

    Raises:
        DataError: no such file, it is not Parquet, or a needed column is missing.
    """
    if not path.is_file():
        raise DataError("no such file; expected a folder with nodes.parquet and edges.parquet", path=path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"not a readable Parquet file: {error}", path=path) from error
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataError(f"missing columns {missing}; expected {needed}, found {table.column_names}", path=path)
    return table


def _index_in(column: pa.ChunkedArray, values: pa.Array) -> npt.NDArray[np.int64]:
    indices = pc.index_in(column, value_set=values)
    return np.asarray(indices.to_numpy(), dtype=np.int64)
