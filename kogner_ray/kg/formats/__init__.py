"""Readers of knowledge graphs: one module a format, each with `read(...) -> (KnowledgeGraph, ReadReport)`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from kogner_ray.data.files import open_binary
from kogner_ray.errors import DataError

if TYPE_CHECKING:
    from kogner_ray.kg.formats.ontology import OntologyConfig
    from kogner_ray.kg.formats.report import ReadReport
    from kogner_ray.kg.tables import KnowledgeGraph

Format = Literal["hetionet", "triples", "parquet", "obo", "rdf", "primekg", "biomedgraphica"]

_WITH_NODES = frozenset({"hetionet", "triples"})
_ONTOLOGIES = frozenset({"obo", "rdf"})
_RDF = (".nt", ".ttl", ".rdf", ".owl")


def read_any(
    source: str | Path,
    *,
    nodes: str | Path | None = None,
    format: Format | None = None,
    ontology: OntologyConfig | None = None,
    strict: bool = False,
) -> tuple[KnowledgeGraph, ReadReport]:
    """Read a knowledge graph of any format.

    Args:
        source: the edge file, or a folder that holds the graph.
        nodes: the node file, where the format has one and it is not found beside the edges.
        format: the format; by default it follows from the names of the files.
        ontology: how the terms of OBO and RDF become nodes.
        strict: refuse the first irregular row instead of counting it.

    Raises:
        DataError: `source` is missing, of no known format, or malformed (with file and line).
    """
    path = Path(source)
    chosen = format or detect_format(path)
    reader = import_module(f"{__name__}.{chosen}")
    if chosen not in _WITH_NODES and nodes is not None:
        raise DataError(f"a graph of the format {chosen} holds its own nodes; expected no node file", path=nodes)
    more: dict[str, object] = {}
    if chosen in _WITH_NODES:
        more["nodes"] = nodes
    if chosen in _ONTOLOGIES:
        more["ontology"] = ontology
    return cast("tuple[KnowledgeGraph, ReadReport]", reader.read(path, strict=strict, **more))


def detect_format(path: Path) -> Format:
    """The format that the file names, and of a `.csv` the first line, speak for.

    Raises:
        DataError: nothing is there, or no format fits.
    """
    if not path.exists():
        raise DataError("no such file or folder", path=path)
    names = [path.name] if path.is_file() else sorted(entry.name for entry in path.iterdir())
    bare = [name.removesuffix(".gz") for name in names]
    if path.is_dir() and "edges.parquet" in names:
        return "parquet"
    if path.is_dir() and {"Entity", "Relation"} <= set(names):
        return "biomedgraphica"
    if any(name.endswith(".sif") for name in bare):
        return "hetionet"
    if _is_primekg(path if path.is_file() else path / names[bare.index("kg.csv")] if "kg.csv" in bare else None):
        return "primekg"
    for chosen, endings in (("obo", (".obo",)), ("rdf", _RDF), ("triples", (".tsv", ".csv", ".txt"))):
        if any(name.endswith(endings) for name in bare):
            return cast("Format", chosen)
    raise DataError(
        "no known format: expected a folder with nodes.parquet and edges.parquet, a .sif[.gz] with *nodes*.tsv, "
        ".obo, .nt, .ttl, .rdf or .owl, PrimeKG's kg.csv, BioMedGraphica's folder of Entity and Relation, "
        f"or triples as .tsv, .csv or .txt (also .gz), found {names[:10]}",
        path=path,
    )


def _is_primekg(path: Path | None) -> bool:
    from kogner_ray.kg.formats import primekg

    if path is None or not path.name.removesuffix(".gz").endswith(".csv"):
        return False
    with open_binary(path) as file:
        return primekg.is_primekg(file.readline(_LONGEST_HEADER).decode("utf-8", "replace"))


_LONGEST_HEADER = 65_536
