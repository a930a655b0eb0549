"""Readers of knowledge graphs: one module a format, each with `read(...) -> (KnowledgeGraph, ReadReport)`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from kogner_ray.errors import DataError

if TYPE_CHECKING:
    from kogner_ray.kg.formats.report import ReadReport
    from kogner_ray.kg.tables import KnowledgeGraph

Format = Literal["hetionet", "triples", "parquet"]


def read_any(
    source: str | Path, *, nodes: str | Path | None = None, format: Format | None = None, strict: bool = False
) -> tuple[KnowledgeGraph, ReadReport]:
    """Read a knowledge graph of any format.

    Args:
        source: the edge file, or a folder that holds the graph.
        nodes: the node file, where the format has one and it is not found beside the edges.
        format: the format; by default it follows from the names of the files.
        strict: refuse the first irregular row instead of counting it.

    Raises:
        DataError: `source` is missing, of no known format, or malformed (with file and line).
    """
    path = Path(source)
    chosen = format or detect_format(path)
    reader = import_module(f"{__name__}.{chosen}")
    more = {} if chosen == "parquet" else {"nodes": nodes}
    if chosen == "parquet" and nodes is not None:
        raise DataError("a Parquet folder holds its own nodes.parquet; expected no node file", path=nodes)
    return cast("tuple[KnowledgeGraph, ReadReport]", reader.read(path, strict=strict, **more))


def detect_format(path: Path) -> Format:
    """The format that the file names speak for.

    Raises:
        DataError: nothing is there, or no format fits.
    """
    if not path.exists():
        raise DataError("no such file or folder", path=path)
    names = [path.name] if path.is_file() else sorted(entry.name for entry in path.iterdir())
    bare = [name.removesuffix(".gz") for name in names]
    if "edges.parquet" in names and path.is_dir():
        return "parquet"
    if any(name.endswith(".sif") for name in bare):
        return "hetionet"
    if any(name.endswith((".tsv", ".csv", ".txt")) for name in bare):
        return "triples"
    raise DataError(
        "no known format: expected a folder with nodes.parquet and edges.parquet, a .sif[.gz] with *nodes*.tsv, "
        f"or triples as .tsv, .csv or .txt (also .gz), found {names[:10]}",
        path=path,
    )
