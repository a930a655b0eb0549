"""PrimeKG's `kg.csv`, plain or gzip: a row an edge, with both of its ends spelt out.

Columns as `knowledge_graph/build_graph.ipynb` of https://github.com/mims-harvard/PrimeKG writes them (commit 32a3818):
`relation, display_relation, x_index, x_id, x_type, x_name, x_source, y_index, y_id, y_type, y_name, y_source`.

An end becomes the node `source:id` (`NCBI:9796`), because the ids of two sources may be equal. PrimeKG drops the
prefixes and leading zeros of ids; `xrefs` has them as corpora and ontologies write them (`MONDO:0005044`), one a member
where PrimeKG made one node of a group of diseases. The types `gene/protein` and `effect/phenotype` are called
`gene_or_protein` and `phenotype`, by which linking knows them. PrimeKG writes every edge in both directions; both are
kept. `display_relation` stays a column of the edges.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kogner_ray.kg.formats.checks import assemble
from kogner_ray.kg.formats.delimited import RawTable, expect_columns, read_delimited
from kogner_ray.kg.formats.report import ReadReport
from kogner_ray.kg.tables import KnowledgeGraph

COLUMNS = ("relation", *(f"{end}_{what}" for end in "xy" for what in ("id", "type", "name", "source")))
"""The columns that are needed."""

_TYPES = {"gene/protein": "gene_or_protein", "effect/phenotype": "phenotype"}
_CURIES = {
    "NCBI": ("NCBIGene", 0),
    "MONDO": ("MONDO", 7),
    "MONDO_grouped": ("MONDO", 7),
    "HPO": ("HP", 7),
    "GO": ("GO", 7),
    "UBERON": ("UBERON", 7),
    "DrugBank": ("DRUGBANK", 0),
    "CTD": ("MESH", 0),
    "REACTOME": ("REACT", 0),
}
"""Source -> CURIE prefix and digits of its numbers."""


def read(source: str | Path, *, strict: bool = False) -> tuple[KnowledgeGraph, ReadReport]:
    """Read `kg.csv`, or a folder that holds it.

    Raises:
        DataError: the file is missing or malformed (with its line); in strict mode, an irregular row.
    """
    path = Path(source)
    if path.is_dir():
        path = next((path / name for name in ("kg.csv", "kg.csv.gz") if (path / name).is_file()), path / "kg.csv")
    raw = read_delimited(path, lambda cells: cells)
    expect_columns(raw, COLUMNS)
    ids = {end: _ids(raw.table, end) for end in "xy"}
    edges = {"head": ids["x"], "relation": raw.table["relation"], "tail": ids["y"]}
    if "display_relation" in raw.table.column_names:
        edges["display_relation"] = raw.table["display_relation"]
    return assemble(_nodes(raw, ids), raw.with_table(pa.table(edges)), strict=strict)


def is_primekg(header: str) -> bool:
    """Whether a file's first line is PrimeKG's."""
    return set(COLUMNS) <= set(header.strip().split(","))


def _ids(table: pa.Table, end: str) -> pa.ChunkedArray:
    """`source:id`; empty where the file has no id."""
    joined = pc.binary_join_element_wise(table[f"{end}_source"], table[f"{end}_id"], ":")
    return pc.if_else(pc.equal(table[f"{end}_id"], ""), "", joined)


def _nodes(raw: RawTable, ids: dict[str, pa.ChunkedArray]) -> RawTable:
    """One row for each id, name, type and source that occur together, by the line of the first."""
    ends = [
        pa.table(
            {
                "id": ids[end],
                **{name: raw.table[f"{end}_{name}"] for name in ("name", "type", "source")},
                "local": raw.table[f"{end}_id"],
                "line": pa.array(raw.lines),
            }
        )
        for end in "xy"
    ]
    columns = ["id", "name", "type", "source", "local"]
    both = pa.concat_tables(ends)
    both = both.filter(pc.not_equal(both["id"], ""))
    found = (
        both.group_by(columns).aggregate([("line", "min")]).sort_by([("line_min", "ascending"), ("id", "ascending")])
    )
    types = pa.array([_TYPES.get(name, name) for name in found["type"].to_pylist()], pa.string())
    pairs = zip(found["source"].to_pylist(), found["local"].to_pylist(), strict=True)
    xrefs = pa.array([_curies(source, local) for source, local in pairs], pa.list_(pa.string()))
    table = pa.table({"id": found["id"], "name": found["name"], "type": types, "xrefs": xrefs})
    return RawTable(table, raw.path, np.asarray(found["line_min"], dtype=np.int64))


def _curies(source: str, local: str) -> list[str]:
    if source not in _CURIES:
        return []
    prefix, digits = _CURIES[source]
    members = local.split("_") if source == "MONDO_grouped" else [local]
    return [
        member if ":" in member else f"{prefix}:{member.zfill(digits) if member.isdigit() else member}"
        for member in members
        if member
    ]
