"""The canonical folder, `nodes.parquet` and `edges.parquet`, read with repair instead of refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from kogner_ray.errors import DataError
from kogner_ray.kg.formats.checks import assemble
from kogner_ray.kg.formats.delimited import RawTable
from kogner_ray.kg.formats.report import ReadReport
from kogner_ray.kg.tables import EDGE_SCHEMA, KnowledgeGraph, read_columns


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
    table = read_columns(path, needed)
    return RawTable(table, path, np.arange(1, table.num_rows + 1, dtype=np.int64))
