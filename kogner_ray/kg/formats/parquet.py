"""The canonical folder, `nodes.parquet` and `edges.parquet`, read with repair instead of refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kogner_ray.errors import DataError
from kogner_ray.kg.formats.checks import assemble
from kogner_ray.kg.formats.delimited import RawTable
from kogner_ray.kg.formats.report import ReadReport
from kogner_ray.kg.tables import EDGE_SCHEMA, KnowledgeGraph


def read(folder: str | Path, *, strict: bool = False) -> tuple[KnowledgeGraph, ReadReport]:
    """Read a canonical folder; type, synonyms and description may be missing, other columns are kept.

    In the report "line" is the 1-based row of the Parquet file.

    Raises:
        DataError: a file or column is missing or of another type; in strict mode, an irregular row.
    """
    source = Path(folder)
    nodes = _read(source / "nodes.parquet", ["id", "name"])
    edges = _read(source / "edges.parquet", EDGE_SCHEMA.names)
    try:
        return assemble(nodes, edges, strict=strict)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"a column is not of its type (text, or lists of text): {error}", path=source) from error


def _read(path: Path, needed: list[str]) -> RawTable:
    if not path.is_file():
        raise DataError("no such file; expected a folder with nodes.parquet and edges.parquet", path=path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"not a readable Parquet file: {error}", path=path) from error
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataError(f"missing columns {missing}; expected {needed}, found {table.column_names}", path=path)
    return RawTable(table, path, np.arange(1, table.num_rows + 1, dtype=np.int64))
