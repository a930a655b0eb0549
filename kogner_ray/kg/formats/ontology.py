"""Terms of an ontology, from OBO or RDF, to raw tables: types, synonyms by scope, ids of one concept, obsolete terms.

Extra columns: `xrefs` (ids of the same or a like concept elsewhere, and the term's alternative ids; linking and merging
look into it), `synonym_scopes` (of each of `synonyms`), and for edges `property` (the relation's own id).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.kg.formats.delimited import RawTable
from kogner_ray.kg.formats.report import Issues, shown

Scope = Literal["EXACT", "NARROW", "BROAD", "RELATED"]

TYPES: Mapping[str, str] = {
    "disease_ontology": "Disease",
    "DOID": "Disease",
    "MONDO": "Disease",
    "HP": "Phenotype",
    "human_phenotype": "Phenotype",
    "CL": "Cell",
    "cell": "Cell",
    "CLO": "CellLine",
    "UBERON": "Anatomy",
    "uberon": "Anatomy",
    "biological_process": "BiologicalProcess",
    "cellular_component": "CellularComponent",
    "molecular_function": "MolecularFunction",
    "CHEBI": "Chemical",
    "chebi_ontology": "Chemical",
    "PR": "Protein",
    "protein": "Protein",
    "NCBITaxon": "Organism",
    "ncbi_taxonomy": "Organism",
    "PATO": "Quality",
    "quality": "Quality",
    "NCBIGene": "Gene",
    "HGNC": "Gene",
}
"""Namespace or id prefix -> type, where the settings do not say otherwise."""


class OntologyConfig(Config):
    """How the terms of an OBO or RDF file become nodes.

    Attributes:
        scopes: synonyms of these scopes become synonyms of the node; a broader or narrower term is not its name.
        types: namespace, class or id prefix -> type of the node, before `TYPES` is asked.
        language: of RDF labels; those without a language count, too. None takes all.
        prefixes: CURIE prefix -> beginning of the IRIs that it stands for (RDF); OBO's IRIs are known.
    """

    scopes: tuple[Scope, ...] = ("EXACT", "RELATED")
    types: Mapping[str, str] = Field(default_factory=dict)
    language: str | None = "en"
    prefixes: Mapping[str, str] = Field(default_factory=dict)


@dataclass(slots=True)
class Term:
    """What a file says of one term.

    Attributes:
        id: its id.
        line: where it is.
        name: its label, or "".
        kind: namespace or class, or "".
        synonyms: text -> scope, the first one of each text.
        description: its definition, or "".
        xrefs: ids elsewhere.
        alternatives: other ids of the term itself, in the same vocabulary.
        obsolete: no longer in use.
        replaced_by: the term to use instead of an obsolete one.
    """

    id: str
    line: int
    name: str = ""
    kind: str = ""
    synonyms: dict[str, Scope] = field(default_factory=dict)
    description: str = ""
    xrefs: list[str] = field(default_factory=list)
    alternatives: list[str] = field(default_factory=list)
    obsolete: bool = False
    replaced_by: str = ""


@dataclass
class Edges:
    """Edges as a file has them: equally long columns, strings shared where they repeat."""

    heads: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    lines: array[int] = field(default_factory=lambda: array("q"))

    def add(self, head: str, relation: str, tail: str, line: int) -> None:
        """Add one."""
        self.heads.append(head)
        self.relations.append(relation)
        self.tails.append(tail)
        self.lines.append(line)


def type_of(own: str, kind: str, config: OntologyConfig) -> str:
    """Type of a term by its namespace or class, else by the prefix of its id; "" when neither says anything."""
    prefix = own.partition(":")[0] if ":" in own and "://" not in own else ""
    for known in (config.types, TYPES):
        for key in (kind, prefix):
            if key in known:
                return known[key]
    return kind or prefix


def raw_tables(
    terms: Iterable[Term], edges: Edges, names: Mapping[str, str], config: OntologyConfig, path: Path, issues: Issues
) -> tuple[RawTable, RawTable]:
    """Raw tables of nodes and edges, for `checks.assemble`.

    Obsolete terms go, and their edges with them. Edges that name a term by an alternative id, or by the id of an
    obsolete term that it replaces, are led to the term.

    Args:
        terms: all terms, obsolete ones too.
        edges: between ids, with relations by their ids.
        names: relation id -> name.
        config: the settings.
        path: the file.
        issues: where what is not used is counted.
    """
    living, gone = [], {}
    for term in terms:
        if term.obsolete:
            issues.add("obsolete term", "not used", path, term.line, term.id)
            gone[term.id] = term
        else:
            living.append(term)
    aliases = _aliases(living, gone)
    others: dict[str, list[str]] = {}
    for alias, own in aliases.items():
        others.setdefault(own, []).append(alias)
    nodes = _nodes(living, others, config, path, issues)
    return nodes, _edges(edges, aliases, gone, names, path, issues)


def _aliases(living: list[Term], gone: Mapping[str, Term]) -> dict[str, str]:
    """Alternative and replaced ids -> the living term."""
    known = {term.id for term in living}
    aliases = {other: term.id for term in living for other in term.alternatives if other not in known}
    for own in gone:
        seen, at = {own}, gone[own].replaced_by
        while at in gone and at not in seen:
            seen.add(at)
            at = gone[at].replaced_by
        at = aliases.get(at, at)
        if at in known and own not in known:
            aliases.setdefault(own, at)
    return aliases


def _nodes(
    terms: list[Term], others: Mapping[str, list[str]], config: OntologyConfig, path: Path, issues: Issues
) -> RawTable:
    wanted = frozenset(config.scopes)
    columns: dict[str, list[Any]] = {name: [] for name in _NODE_COLUMNS.names}
    for term in terms:
        kept = {text: scope for text, scope in term.synonyms.items() if scope in wanted and text != term.name}
        for text, scope in term.synonyms.items():
            if scope not in wanted:
                issues.add(f"{scope} synonym", "not used", path, term.line, f"{term.id} {shown(text)}")
        row = (term.id, term.name, type_of(term.id, term.kind, config), list(kept), term.description)
        own = list(dict.fromkeys([*others.get(term.id, ()), *term.alternatives, *term.xrefs]))
        for name, value in zip(_NODE_COLUMNS.names, (*row, list(kept.values()), own), strict=True):
            columns[name].append(value)
    lines = np.fromiter((term.line for term in terms), dtype=np.int64, count=len(terms))
    return RawTable(pa.table(columns, schema=_NODE_COLUMNS), path, lines)


_NODE_COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "name", "type")),
        ("synonyms", pa.list_(pa.string())),
        ("description", pa.string()),
        ("synonym_scopes", pa.list_(pa.string())),
        ("xrefs", pa.list_(pa.string())),
    ]
)


def _edges(
    edges: Edges,
    aliases: Mapping[str, str],
    gone: Mapping[str, Term],
    names: Mapping[str, str],
    path: Path,
    issues: Issues,
) -> RawTable:
    kept = np.ones(len(edges.heads), dtype=bool)
    for row, (head, tail, line) in enumerate(zip(edges.heads, edges.tails, edges.lines, strict=True)):
        if head in gone:
            kept[row] = False
            issues.add("edge of an obsolete term", "not used", path, line, f"head {head!r}")
        elif head in aliases or tail in aliases:
            issues.add("edge by another id of a term", "kept", path, line, f"tail {tail!r}")
    table = pa.table(
        {
            "head": pa.array([aliases.get(head, head) for head in edges.heads], pa.string()),
            "relation": pa.array([names.get(own, own) for own in edges.relations], pa.string()),
            "tail": pa.array([aliases.get(tail, tail) for tail in edges.tails], pa.string()),
            "property": pa.array(edges.relations, pa.string()),
        }
    )
    return RawTable(table, path, np.array(edges.lines, dtype=np.int64)).keep(kept)
