"""Hetionet's TSV form: `nodes.tsv` (id, name, kind) and `edges.sif[.gz]` (source, metaedge, target).

The format is described at https://github.com/hetio/hetionet/tree/main/hetnet/tsv. A metaedge abbreviation such as `CtD`
becomes the relation `treats`; the abbreviation is kept in the column `metaedge`, and each node gets the column `curie`
(`DRUGBANK:DB00945` for `Compound::DB00945`), by which corpora name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from kogner_ray.errors import DataError
from kogner_ray.kg.formats.checks import assemble
from kogner_ray.kg.formats.delimited import RawTable, expect_columns, read_delimited
from kogner_ray.kg.formats.report import ReadReport
from kogner_ray.kg.tables import KnowledgeGraph

METAEDGES: Mapping[str, str] = {
    "AdG": "downregulates",
    "AeG": "expresses",
    "AuG": "upregulates",
    "CbG": "binds",
    "CcSE": "causes",
    "CdG": "downregulates",
    "CpD": "palliates",
    "CrC": "resembles",
    "CtD": "treats",
    "CuG": "upregulates",
    "DaG": "associates",
    "DdG": "downregulates",
    "DlA": "localizes",
    "DpS": "presents",
    "DrD": "resembles",
    "DuG": "upregulates",
    "GcG": "covaries",
    "GiG": "interacts",
    "GpBP": "participates",
    "GpCC": "participates",
    "GpMF": "participates",
    "GpPW": "participates",
    "Gr>G": "regulates",
    "PCiC": "includes",
}
"""Abbreviation -> relation of Hetionet v1.0, where no `metaedges.tsv` says otherwise."""

_NAMESPACES = {
    "Compound": "DRUGBANK",
    "Gene": "NCBIGene",
    "Pathway": "PATHWAY",
    "Pharmacologic Class": "NDFRT",
    "Side Effect": "UMLS",
    "Symptom": "MESH",
}


def read(
    edges: str | Path, *, nodes: str | Path | None = None, metaedges: str | Path | None = None, strict: bool = False
) -> tuple[KnowledgeGraph, ReadReport]:
    """Read a Hetionet graph.

    Args:
        edges: the SIF file, or a folder with it.
        nodes: the node table; found beside the edges as `*nodes*.tsv` when left out.
        metaedges: `metaedges.tsv` (columns metaedge, abbreviation); found beside the edges, else `METAEDGES`.
        strict: refuse the first irregular row instead of counting it.

    Raises:
        DataError: a file is missing or malformed (with its line); in strict mode, an irregular row.
    """
    folder = Path(edges)
    edge_file = _one(folder, "*.sif", "*.sif.gz") if folder.is_dir() else folder
    node_file = Path(nodes) if nodes is not None else _one(edge_file.parent, "*nodes*.tsv", "*nodes*.tsv.gz")
    beside = edge_file.parent / "metaedges.tsv"
    metaedge_file = Path(metaedges) if metaedges is not None else beside if beside.is_file() else None
    relations = METAEDGES if metaedge_file is None else _read_metaedges(metaedge_file)
    known = set(relations.values())
    raw_nodes, raw_edges = _read_nodes(node_file), _read_edges(edge_file, relations)
    return assemble(raw_nodes, raw_edges, relations=known, unlisted="kept", strict=strict)


def _read_nodes(path: Path) -> RawTable:
    raw = read_delimited(path, lambda cells: cells)
    expect_columns(raw, ["id", "name", "kind"])
    ids = raw.table["id"].to_pylist()
    curies = pa.array([_curie(own, kind) for own, kind in zip(ids, raw.table["kind"].to_pylist(), strict=True)])
    renamed = ["type" if name == "kind" else name for name in raw.table.column_names]
    table = raw.table.rename_columns(renamed).append_column("curie", curies.cast(pa.string()))
    return raw.with_table(table)


def _curie(own: str, kind: str) -> str:
    local = own.rpartition("::")[2]
    return local if ":" in local or kind not in _NAMESPACES else f"{_NAMESPACES[kind]}:{local}"


def _read_edges(path: Path, relations: Mapping[str, str]) -> RawTable:
    raw = read_delimited(path, lambda cells: cells)
    expect_columns(raw, ["source", "metaedge", "target"])
    metaedges = raw.table["metaedge"].combine_chunks().dictionary_encode()
    # A metaedge that is not listed is its own relation, and reported as unknown.
    names = pa.array([relations.get(name, name) for name in metaedges.dictionary.to_pylist()], pa.string())
    table = raw.table.append_column("relation", names.take(metaedges.indices))
    renamed = {"source": "head", "target": "tail"}
    return raw.with_table(table.rename_columns([renamed.get(name, name) for name in table.column_names]))


def _read_metaedges(path: Path) -> dict[str, str]:
    raw = read_delimited(path, lambda cells: cells)
    expect_columns(raw, ["metaedge", "abbreviation"])
    relations = {}
    for line, name, short in zip(
        raw.lines, *(raw.table[c].to_pylist() for c in ("metaedge", "abbreviation")), strict=True
    ):
        parts = name.replace(" > ", " - ").split(" - ")
        if len(parts) != 3:
            raise DataError(f"expected 'Head - relation - Tail', found {name!r}", path=path, line=int(line))
        relations[short] = parts[1]
    return relations


def _one(folder: Path, *patterns: str) -> Path:
    found = sorted(path for pattern in patterns for path in folder.glob(pattern))
    if len(found) != 1:
        names = [path.name for path in found] or "none"
        raise DataError(f"expected one file {' or '.join(patterns)}, found {names}", path=folder)
    return found[0]
