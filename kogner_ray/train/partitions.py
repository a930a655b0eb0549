"""Parts of a knowledge graph as Ray datasets."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from kogner_ray.kg.partition import Part, read_meta, read_part


def read_partitions(folder: str | Path) -> ray.data.Dataset:
    """One row and one block a part, in any order.

    Columns: `part` int64; `node`, `type` (index), `halo` lists over the part's nodes, own nodes first; `head`,
    `relation`, `tail`, `edge` lists over its edges.

    Raises:
        DataError: `folder` holds no parts.
    """
    return _parts(folder).map_batches(
        _Reader(folder).rows, batch_size=1, batch_format="pyarrow", num_cpus=0.25, zero_copy_batch=True
    )


def read_edges(folder: str | Path) -> ray.data.Dataset:
    """One row an edge, one block a part: columns `part`, `head`, `relation`, `tail`, `edge`, all int64.

    Raises:
        DataError: `folder` holds no parts.
    """
    return _parts(folder).map_batches(
        _Reader(folder).edges, batch_size=1, batch_format="pyarrow", num_cpus=0.25, zero_copy_batch=True
    )


def _parts(folder: str | Path) -> ray.data.Dataset:
    n_parts = read_meta(folder).n_parts
    return ray.data.from_items([{"part": index} for index in range(n_parts)], override_num_blocks=n_parts)


class _Reader:
    """Reads the part that a one-row batch names."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = str(Path(folder).resolve())

    def rows(self, batch: pa.Table) -> pa.Table:
        part = self._read(batch)
        types = pa.array(read_meta(self.folder).types, pa.string())
        nodes = {
            "node": part.nodes["node"],
            "type": pc.index_in(part.nodes["type"], value_set=types).cast(pa.int64()),
            "halo": part.nodes["halo"],
        }
        edges = {name: part.edges[name] for name in part.edges.column_names}
        lists = {name: _one_list(column) for name, column in (nodes | edges).items()}
        return pa.table({"part": pa.array([part.index], pa.int64()), **lists})

    def edges(self, batch: pa.Table) -> pa.Table:
        part = self._read(batch)
        return part.edges.add_column(0, "part", pa.array([part.index] * part.edges.num_rows, pa.int64()))

    def _read(self, batch: pa.Table) -> Part:
        return read_part(self.folder, batch["part"][0].as_py())


def _one_list(column: pa.ChunkedArray) -> pa.Array:
    values = column.combine_chunks()
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)
