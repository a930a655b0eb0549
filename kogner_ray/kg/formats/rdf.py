"""RDF as N-Triples, Turtle or RDF/XML, plain or gzip, read triple by triple with `pyoxigraph`.

| in the file | in the tables |
|---|---|
| an IRI of which something is said | a node; in a file without labels and types also the objects of edges |
| `rdfs:label`, `skos:prefLabel`, `schema:name` | its name; further ones are synonyms |
| `skos:altLabel`, oboInOwl's synonyms (of the scopes that are wanted), `IAO:0000118` | synonyms |
| `skos:definition`, `IAO:0000115`, else `rdfs:comment`, `dcterms:description` | description |
| `oboInOwl:hasDbXref`, `hasAlternativeId`, `skos:exactMatch`, `owl:sameAs` | `xrefs` |
| `rdf:type` | type, by the label or the last part of the class; not those of OWL, RDF(S) and SKOS |
| `owl:deprecated true`, `IAO:0100001` | left out, its id led to the term that replaces it, as in `obo` |
| other properties between IRIs | an edge; `rdfs:subClassOf` is `is_a`, others are called by label or last part |
| literals of other properties, labels in other languages, what is said of blank nodes | not used, counted |

OWL writes relations between classes as restrictions, which are blank nodes: they are among what is not used. OBO files
have them as plain relationships (`formats.obo`).

An IRI that stands for a CURIE (`http://purl.obolibrary.org/obo/DOID_1438`, or what `prefixes` says) is the node
`DOID:1438`, others keep their IRI. "Lines" of the report are numbers of triples; those of errors are lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyoxigraph as ox

from kogner_ray.data.files import open_binary
from kogner_ray.errors import DataError
from kogner_ray.kg.formats.checks import assemble
from kogner_ray.kg.formats.ontology import Edges, OntologyConfig, Scope, Term, raw_tables
from kogner_ray.kg.formats.report import Issues, ReadReport, shown
from kogner_ray.kg.tables import KnowledgeGraph

ENDINGS: Mapping[str, Any] = {
    ".nt": ox.RdfFormat.N_TRIPLES,
    ".ttl": ox.RdfFormat.TURTLE,
    ".rdf": ox.RdfFormat.RDF_XML,
    ".owl": ox.RdfFormat.RDF_XML,
}
"""File ending (before `.gz`) -> syntax."""

_RDF, _RDFS = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.w3.org/2000/01/rdf-schema#"
_SKOS, _OWL = "http://www.w3.org/2004/02/skos/core#", "http://www.w3.org/2002/07/owl#"
_OBO, _IN_OWL = "http://purl.obolibrary.org/obo/", "http://www.geneontology.org/formats/oboInOwl#"

_TYPE, _SUBCLASS = f"{_RDF}type", f"{_RDFS}subClassOf"
_NAMES = {f"{_RDFS}label", f"{_SKOS}prefLabel", "http://schema.org/name", "https://schema.org/name"}
_SYNONYMS: Mapping[str, Scope] = {
    f"{_SKOS}altLabel": "EXACT",
    f"{_OBO}IAO_0000118": "EXACT",
    f"{_IN_OWL}hasExactSynonym": "EXACT",
    f"{_IN_OWL}hasNarrowSynonym": "NARROW",
    f"{_IN_OWL}hasBroadSynonym": "BROAD",
    f"{_IN_OWL}hasRelatedSynonym": "RELATED",
}
_DEFINITIONS = {f"{_SKOS}definition", f"{_OBO}IAO_0000115"}
_COMMENTS = {f"{_RDFS}comment", "http://purl.org/dc/terms/description", "http://purl.org/dc/elements/1.1/description"}
_XREFS = {f"{_IN_OWL}hasDbXref", f"{_SKOS}exactMatch", f"{_OWL}sameAs"}
_ALTERNATIVE, _NAMESPACE = f"{_IN_OWL}hasAlternativeId", f"{_IN_OWL}hasOBONamespace"
_DEPRECATED, _REPLACED = f"{_OWL}deprecated", f"{_OBO}IAO_0100001"
_TEXTS = {*_NAMES, *_SYNONYMS, *_DEFINITIONS, *_COMMENTS, *_XREFS, _ALTERNATIVE, _NAMESPACE, _DEPRECATED, _REPLACED}
_GENERAL = (_RDF, _RDFS, _SKOS, _OWL)
_OBO_LOCAL = re.compile(r"([A-Za-z][A-Za-z0-9]*)_([A-Za-z0-9]+)")


def read(
    source: str | Path, *, ontology: OntologyConfig | None = None, strict: bool = False
) -> tuple[KnowledgeGraph, ReadReport]:
    """Read a file, or a folder that holds one.

    Args:
        source: the file (`.nt`, `.ttl`, `.rdf`, `.owl`, each also `.gz`) or folder.
        ontology: which synonyms and languages count, how types are called, what CURIEs stand for.
        strict: refuse the first irregular row instead of counting it.

    Raises:
        DataError: the file is missing, truncated, empty or malformed (with its line); in strict mode, an irregular row.
    """
    path = _file(Path(source))
    config, issues = ontology or OntologyConfig(), Issues(strict)
    found = _Statements(path, config, issues)
    for number, (subject, predicate, object_) in enumerate(_triples(path), 1):
        found.add(number, subject, predicate, object_)
    if not found.terms:
        raise DataError("expected RDF, found nothing said of any IRI", path=path, line=1)
    terms, edges, names = found.finished()
    nodes, raw_edges = raw_tables(terms, edges, names, config, path, issues)
    return assemble(nodes, raw_edges, issues=issues)


def _file(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = sorted(path for path in source.iterdir() if path.name.removesuffix(".gz").endswith(tuple(ENDINGS)))
    if len(found) != 1:
        names = [path.name for path in found] or "none"
        raise DataError(f"expected one file of {', '.join(ENDINGS)}, found {names}", path=source)
    return found[0]


def _triples(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    ending = Path(path.name.removesuffix(".gz")).suffix
    syntax = ENDINGS.get(ending)
    if syntax is None:
        raise DataError(f"expected a name that ends in {', '.join(ENDINGS)}", path=path)
    with open_binary(path) as file:
        try:
            for quad in ox.parse(file, format=syntax):
                yield quad.subject, quad.predicate, quad.object
        except SyntaxError as error:
            raise DataError(f"malformed {syntax.name}: {error.msg}", path=path, line=error.lineno) from error


@dataclass
class _Statements:
    """Terms and edges as the triples bring them."""

    path: Path
    config: OntologyConfig
    issues: Issues
    terms: dict[str, Term] = field(default_factory=dict)
    edges: Edges = field(default_factory=Edges)
    described: bool = False
    _ids: dict[str, str] = field(default_factory=dict)
    _classes: dict[str, str] = field(default_factory=dict)
    _properties: set[str] = field(default_factory=set)
    _definitions: set[str] = field(default_factory=set)

    def add(self, number: int, subject: Any, predicate: Any, object_: Any) -> None:
        """Take a triple up."""
        property_ = predicate.value
        if isinstance(subject, ox.BlankNode) or isinstance(object_, ox.BlankNode):
            self._unused("statement of a blank node", number, f"{_local(property_)} of {_shown(subject)}")
            return
        own = self._id(subject.value)
        term = self.terms.get(own)
        if term is None:
            term = self.terms[own] = Term(own, number)
        if property_ == _TYPE:
            self._add_type(term, object_, number)
        elif property_ in _TEXTS:
            self._describe(term, property_, object_, number)
        elif isinstance(object_, ox.Literal):
            self._unused("literal of another property", number, f"{_local(property_)} of {_shown(subject)}")
        else:
            relation = "is_a" if property_ == _SUBCLASS else self._id(property_)
            self.edges.add(own, relation, self._id(object_.value), number)

    def finished(self) -> tuple[list[Term], Edges, dict[str, str]]:
        """Terms with names and types, edges, and names of the relations.

        Classes that are types, and properties, are no nodes unless edges lead to them.
        """
        for own, class_ in self._classes.items():
            term, known = self.terms[own], self.terms.get(class_)
            term.kind = term.kind or (known.name if known and known.name else _local(class_))
        ends = dict.fromkeys([*self.edges.heads, *self.edges.tails])
        relations = dict.fromkeys(self.edges.relations)
        names = {own: self._name(own) for own in relations if own != "is_a"}
        schema = ({*relations, *self._classes.values()} | self._properties) - ends.keys()
        if not self.described:
            self.terms |= {own: Term(own, 1) for own in ends if own not in self.terms}
        for own in schema & self.terms.keys():
            self._unused("class or property of the schema", self.terms[own].line, own)
        for own, term in self.terms.items():
            term.name = self._name(own)
        return [term for own, term in self.terms.items() if own not in schema], self.edges, names

    def _name(self, own: str) -> str:
        return self.terms[own].name or _local(own) if own in self.terms else _local(own)

    def _add_type(self, term: Term, object_: Any, number: int) -> None:
        self.described = True
        class_ = getattr(object_, "value", "")
        if class_.startswith(_GENERAL):
            if class_.endswith("Property"):
                self._properties.add(term.id)
            return
        if term.id in self._classes:
            self.issues.add("more than one type", "kept", self.path, number, f"{term.id}: {_local(class_)}")
            return
        self._classes[term.id] = self._id(class_)

    def _describe(self, term: Term, property_: str, object_: Any, number: int) -> None:
        self.described = True
        text = object_.value.strip()
        if not self._is_wanted(object_):
            self._unused("text in another language", number, f"{term.id} {shown(text)}")
        elif property_ in _NAMES and not term.name:
            term.name = text
        elif property_ in _NAMES or property_ in _SYNONYMS:
            term.synonyms.setdefault(text, _SYNONYMS.get(property_, "EXACT"))
        elif property_ in _DEFINITIONS or property_ in _COMMENTS:
            if not term.description or (property_ in _DEFINITIONS and term.id not in self._definitions):
                term.description = text
            if property_ in _DEFINITIONS:
                self._definitions.add(term.id)
        elif property_ in _XREFS:
            term.xrefs.append(text if isinstance(object_, ox.Literal) else self._id(text))
        elif property_ == _ALTERNATIVE:
            term.alternatives.append(text)
        elif property_ == _NAMESPACE:
            term.kind = text
        elif property_ == _DEPRECATED:
            term.obsolete = text in ("true", "1")
        else:
            term.replaced_by = term.replaced_by or (text if isinstance(object_, ox.Literal) else self._id(text))

    def _is_wanted(self, object_: Any) -> bool:
        language = getattr(object_, "language", None)
        wanted = self.config.language
        return language is None or wanted is None or language.split("-")[0].lower() == wanted.lower()

    def _id(self, iri: str) -> str:
        """The CURIE that an IRI stands for, else the IRI; the same string each time."""
        own = self._ids.get(iri)
        if own is None:
            own = self._ids[iri] = _compact(iri, self.config.prefixes)
        return own

    def _unused(self, kind: str, number: int, detail: str) -> None:
        self.issues.add(kind, "not used", self.path, number, detail)


def _compact(iri: str, prefixes: Mapping[str, str]) -> str:
    for prefix, beginning in prefixes.items():
        if iri.startswith(beginning) and len(iri) > len(beginning):
            return f"{prefix}:{iri[len(beginning) :]}"
    if iri.startswith(_OBO):
        found = _OBO_LOCAL.fullmatch(iri[len(_OBO) :])
        if found:
            return f"{found[1]}:{found[2]}"
    return iri


def _local(iri: str) -> str:
    """The last part of an IRI; the whole where it ends in a separator."""
    return re.split(r"[#/]", iri)[-1] or iri


def _shown(subject: Any) -> str:
    return shown(getattr(subject, "value", ""))
