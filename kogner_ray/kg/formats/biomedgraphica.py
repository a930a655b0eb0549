"""BioMedGraphica, and BioMedGraphica-Conn: a folder of CSV files, plain or gzip.

Names and columns as the notebooks of https://github.com/FuhaiLiAiLab/BioMedGraphica (commit 8a617a4) write them, those
of the Conn release as https://github.com/CallOfDady/BioMedGraphica_WebApp (commit 369cdb2) reads them:

    Entity/TYPE/BioMedGraphica[_Conn]_TYPE.csv                       BioMedGraphica[_Conn]_ID and columns such as
                                                                     MeSH_ID, MeSH_Name, HGNC_Symbol, CAS_RN
    Entity/TYPE/BioMedGraphica[_Conn]_TYPE_Display_Name.csv          BMG_TYPE_Name (may be missing)
    Entity/TYPE/BioMedGraphica[_Conn]_TYPE_Description_Combined.csv  Description (may be missing)
    Relation/BioMedGraphica[_Conn]_Relation.csv                      From_ID, To_ID (Conn: BMGC_From_ID, BMGC_To_ID),
                                                                     Type, Source

TYPE is one of `TYPES`, which are the types of the nodes. The display name is the node's name; columns that end in
`_Name`, `_Symbol` or `_Title` are its synonyms, those of ids its `xrefs` (`MESH:D000013`). Ids of the gene that a
protein, a transcript or a promoter belongs to are left aside, for they are ids of another concept. Cells are lists,
separated by ` | ` or, of ids, by `;`. Lines in the report are records: cells may hold line breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from kogner_ray.errors import DataError
from kogner_ray.kg.formats.checks import assemble
from kogner_ray.kg.formats.delimited import RawTable, expect_columns, read_delimited
from kogner_ray.kg.formats.report import ReadReport
from kogner_ray.kg.tables import KnowledgeGraph

TYPES = (
    "Disease",
    "Drug",
    "Exposure",
    "Gene",
    "Metabolite",
    "Microbiota",
    "Pathway",
    "Phenotype",
    "Promoter",
    "Protein",
    "Transcript",
)
"""The entity types."""

_ID = re.compile(r"BioMedGraphica(_Conn)?_ID")
_ENDS = {"head": re.compile(r"(BMGC?_)?From_ID"), "tail": re.compile(r"(BMGC?_)?To_ID")}
_NAMES = ("_Name", "_Symbol", "_Title")
_PREFIXES = {
    "MeSH_ID": "MESH",
    "UMLS_ID": "UMLS",
    "DO_ID": "DOID",
    "HPO_ID": "HP",
    "NCBI_Gene_ID": "NCBIGene",
    "NCBI_Taxonomy_ID": "NCBITaxon",
    "Ensembl_Gene_ID": "ENSEMBL",
    "Ensembl_Protein_ID": "ENSEMBL",
    "Ensembl_Transcript_ID": "ENSEMBL",
    "Uniprot_ID": "UniProtKB",
    "DrugBank_ID": "DRUGBANK",
    "ChEBI_ID": "CHEBI",
    "PubChem_CID": "PUBCHEM.COMPOUND",
    "Reactome_ID": "REACT",
    "PO_ID": "PW",
    "CAS_RN": "CAS",
    "UNII": "UNII",
}
"""Column -> CURIE prefix; of others it is the column's name without `_ID`."""
_NOT_IDS = ("_Version", "SMILES", "InChI", "PubChem_SID", "NDC")
_OF_THE_GENE = dict.fromkeys(
    ("Promoter", "Protein", "Transcript"), ("NCBI_Gene_ID", "Ensembl_Gene_ID", "HGNC_ID", "OMIM_ID")
)
_NAME_BREAK, _ID_BREAK = re.compile(r"\s*\|\s*"), re.compile(r"\s*[|;]\s*")


def read(source: str | Path, *, strict: bool = False) -> tuple[KnowledgeGraph, ReadReport]:
    """Read the folder that holds `Entity/` and `Relation/`.

    Raises:
        DataError: no such files, or a malformed one (with its record); in strict mode, an irregular row.
    """
    folder = Path(source)
    relation = _find(folder / "Relation", "Relation")
    if relation is None:
        raise DataError("expected Relation/BioMedGraphica[_Conn]_Relation.csv", path=folder)
    raws = [_read_type(folder / "Entity" / name, name) for name in TYPES if (folder / "Entity" / name).is_dir()]
    found = [raw for raw in raws if raw is not None]
    if not found:
        raise DataError(f"expected Entity/TYPE/BioMedGraphica[_Conn]_TYPE.csv, TYPE one of {TYPES}", path=folder)
    return assemble(RawTable.joined(found, folder), _read_edges(relation), strict=strict)


def _find(folder: Path, what: str) -> Path | None:
    names = [f"BioMedGraphica{conn}_{what}.csv{gz}" for conn in ("_Conn", "") for gz in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_type(folder: Path, name: str) -> RawTable | None:
    main = _find(folder, name)
    if main is None:
        return None
    raw, own = _read(main)
    ids = raw.table[own].to_pylist()
    shown = _column(_find(folder, f"{name}_Display_Name"), f"BMG_{name}_Name")
    descriptions = _column(_find(folder, f"{name}_Description_Combined"), "Description")
    names = [
        list(dict.fromkeys([*_parts(shown.get(id, ""), _NAME_BREAK)[:1], *others]))
        for id, others in zip(ids, _lists(raw, own, name, names=True), strict=True)
    ]
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "name": pa.array([own[0] if own else "" for own in names], pa.string()),
            "type": pa.array([name] * len(ids), pa.string()),
            "synonyms": pa.array([own[1:] for own in names], pa.list_(pa.string())),
            "description": pa.array([descriptions.get(id, "") for id in ids], pa.string()),
            "xrefs": pa.array(list(_lists(raw, own, name, names=False)), pa.list_(pa.string())),
        }
    )
    return raw.with_table(table)


def _read(path: Path) -> tuple[RawTable, str]:
    raw = read_delimited(path, lambda cells: cells, multiline=True)
    own = next((name for name in raw.table.column_names if _ID.fullmatch(name)), None)
    if own is None:
        expected = "expected a column BioMedGraphica_ID or BioMedGraphica_Conn_ID"
        raise DataError(f"{expected}, found {raw.table.column_names}", path=path, line=1)
    return raw, own


def _column(path: Path | None, column: str) -> dict[str, str]:
    if path is None:
        return {}
    raw, own = _read(path)
    expect_columns(raw, [column])
    return dict(zip(raw.table[own].to_pylist(), raw.table[column].to_pylist(), strict=True))


def _lists(raw: RawTable, own: str, type_: str, *, names: bool) -> Iterator[list[str]]:
    """Names, or ids as CURIEs, of each row."""
    columns = [name for name in raw.table.column_names if name != own]
    if names:
        wanted = [name for name in columns if name.endswith(_NAMES)]
    else:
        wanted = [name for name in columns if _is_id(name) and name not in _OF_THE_GENE.get(type_, ())]
    cells = [raw.table[name].to_pylist() for name in wanted]
    for row in zip(*cells, strict=True) if cells else ([] for _ in range(raw.table.num_rows)):
        values: list[str] = []
        for column, cell in zip(wanted, row, strict=True):
            parts = _parts(cell, _NAME_BREAK if names else _ID_BREAK)
            values += parts if names else [_curie(column, part) for part in parts]
        yield list(dict.fromkeys(values))


def _is_id(column: str) -> bool:
    return column not in _NOT_IDS and not column.endswith(_NOT_IDS) and (column.endswith("_ID") or column in _PREFIXES)


def _curie(column: str, local: str) -> str:
    return local if ":" in local else f"{_PREFIXES.get(column, column.removesuffix('_ID'))}:{local}"


def _parts(cell: str, breaks: re.Pattern[str]) -> list[str]:
    return [part for part in breaks.split(cell.strip()) if part]


def _read_edges(path: Path) -> RawTable:
    raw = read_delimited(path, lambda cells: cells, multiline=True)
    ends = {end: next((n for n in raw.table.column_names if look.fullmatch(n)), None) for end, look in _ENDS.items()}
    if None in ends.values() or "Type" not in raw.table.column_names:
        expected = "expected From_ID, To_ID (or BMGC_From_ID, BMGC_To_ID) and Type"
        raise DataError(f"{expected}, found {raw.table.column_names}", path=path, line=1)
    columns = {"head": raw.table[ends["head"]], "relation": raw.table["Type"], "tail": raw.table[ends["tail"]]}
    if "Source" in raw.table.column_names:
        columns["source"] = raw.table["Source"]
    return raw.with_table(pa.table(columns))
