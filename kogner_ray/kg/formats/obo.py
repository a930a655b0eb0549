"""OBO ontologies (format 1.2 and 1.4), plain or gzip, read a stanza at a time with `fastobo`.

The format: https://owlcollab.github.io/oboformat/doc/GO.format.obo-1_4.html.

| in the file | in the tables |
|---|---|
| `[Term]` | a node; `name`, `def`, `synonym` of the scopes that are wanted, `xref` and `alt_id` (both in `xrefs`) |
| its `namespace`, else the file's, else the id's prefix | its type, see `ontology.TYPES` |
| `is_a`, `relationship` | an edge; the relation is called as its `[Typedef]` is, the typedef's id is in `property` |
| `is_obsolete: true` | left out; with `replaced_by`, its id becomes another id of the term that replaces it |
| `intersection_of`, `union_of`, `equivalent_to`, `disjoint_from` | not used, counted: released files assert what is |
| | taxonomy in these definitions as `is_a` and `relationship`, too; the rest are axioms, no facts of two nodes |
| `[Instance]`, unknown stanzas | not used, counted |
| a clause that breaks the grammar | left out, counted with its line; the rest of its stanza is read |

Real files break the grammar here and there, which is why one clause does not stop the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastobo

from kogner_ray.data.files import read_lines
from kogner_ray.errors import DataError
from kogner_ray.kg.formats.checks import assemble
from kogner_ray.kg.formats.ontology import Edges, OntologyConfig, Term, raw_tables
from kogner_ray.kg.formats.report import Issues, ReadReport, shown
from kogner_ray.kg.tables import KnowledgeGraph

_AXIOMS = frozenset({"intersection_of", "union_of", "equivalent_to", "disjoint_from"})
_Line = tuple[int, str]


def read(
    source: str | Path, *, ontology: OntologyConfig | None = None, strict: bool = False
) -> tuple[KnowledgeGraph, ReadReport]:
    """Read an OBO file, or a folder that holds one.

    Args:
        source: the file or folder.
        ontology: which synonyms count, and how types are called.
        strict: refuse the first irregular clause or term instead of counting it.

    Raises:
        DataError: the file is missing, truncated, not UTF-8, empty or no OBO (with its line); in strict mode, an
            irregular row.
    """
    path = _file(Path(source))
    issues = Issues(strict)
    found = _Ontology(path, issues)
    for stanza in _stanzas(path):
        found.add(stanza)
    if not found.read:
        raise DataError("expected an OBO file, found an empty one", path=path, line=1)
    config = ontology or OntologyConfig()
    nodes, edges = raw_tables(found.terms, found.edges, found.relations, config, path, issues)
    return assemble(nodes, edges, issues=issues)


def _file(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = sorted([*source.glob("*.obo"), *source.glob("*.obo.gz")])
    if len(found) != 1:
        raise DataError(f"expected one .obo file, found {[path.name for path in found] or 'none'}", path=source)
    return found[0]


def _stanzas(path: Path) -> Iterator[list[_Line]]:
    """The lines of the header, then of each stanza, `[Term]` and the like first; without comments and blank lines."""
    stanza: list[_Line] = []
    for number, line in read_lines(path):
        if isinstance(line, DataError):
            raise line
        text = line.strip()
        if text.startswith("[") and text.partition("!")[0].rstrip().endswith("]"):
            yield stanza
            stanza = []
        if text and not text.startswith("!"):
            stanza.append((number, text))
    yield stanza


@dataclass
class _Ontology:
    """Terms, edges and relation names as the stanzas bring them."""

    path: Path
    issues: Issues
    namespace: str = ""
    terms: list[Term] = field(default_factory=list)
    edges: Edges = field(default_factory=Edges)
    relations: dict[str, str] = field(default_factory=dict)
    read: int = 0
    _header: bool = True

    def add(self, stanza: list[_Line]) -> None:
        """Take a stanza up; the first one is the header."""
        self.read += len(stanza)
        if self._header:
            self._header = False
            self._add_header(stanza)
            return
        line, kind = stanza[0]
        kind = kind.partition("!")[0].strip()
        if kind not in ("[Term]", "[Typedef]"):
            self.issues.add(f"stanza {shown(kind)}", "not used", self.path, line, shown(kind))
            return
        if len(stanza) == 1 or not stanza[1][1].startswith("id:"):
            self.issues.add("stanza without an id", "left out", self.path, line, kind)
            return
        own, clauses = self._clauses(kind, stanza)
        if own is None:
            return
        if kind == "[Term]":
            self._add_term(own, line, clauses)
        else:
            name = next((clause.name for _, clause in clauses if clause.raw_tag() == "name"), "")
            self.relations[own] = name or own

    def _add_header(self, lines: list[_Line]) -> None:
        number, first = lines[0] if lines else (1, "format-version: 1.2")
        if ":" not in first:
            expected = "expected an OBO file, which begins with tags such as format-version: 1.2"
            raise DataError(f"{expected}, found {shown(first)}", path=self.path, line=number)
        for _, line in lines:
            tag, _, value = line.partition(":")
            if tag == "default-namespace":
                self.namespace = value.strip()

    def _clauses(self, kind: str, stanza: list[_Line]) -> tuple[str | None, list[tuple[int, Any]]]:
        """Id of a stanza, None where it does not parse, and the clauses after it with their lines."""
        whole = _parsed(kind, stanza[1:])
        if not isinstance(whole, SyntaxError):
            return _plain(whole[0].id), list(zip((number for number, _ in stanza[2:]), whole[0], strict=True))
        # clause by clause, not again without the one that fails: a stanza may have a million of them
        first = _parsed(kind, [stanza[1]])
        if isinstance(first, SyntaxError):
            self._malformed(*stanza[1], first)
            return None, []
        clauses = []
        for number, line in stanza[2:]:
            alone = _parsed(kind, [(0, "id: x"), (number, line)])
            if isinstance(alone, SyntaxError):
                self._malformed(number, line, alone)
            else:
                clauses.append((number, alone[0][0]))
        return _plain(first[0].id), clauses

    def _malformed(self, number: int, line: str, error: SyntaxError) -> None:
        self.issues.add("malformed clause", "left out", self.path, number, f"{shown(line)}: {error.msg}")

    def _add_term(self, own: str, line: int, clauses: list[tuple[int, Any]]) -> None:
        term = Term(own, line, kind=self.namespace)
        for number, clause in clauses:
            tag = clause.raw_tag()
            if tag == "is_a":
                self.edges.add(own, "is_a", _plain(clause.term), number)
            elif tag == "relationship":
                self.edges.add(own, _plain(clause.typedef), _plain(clause.term), number)
            elif tag in _AXIOMS:
                self.issues.add(f"clause {tag}", "not used", self.path, number, f"{own} {shown(clause.raw_value())}")
            else:
                _describe(term, tag, clause)
        self.terms.append(term)


def _describe(term: Term, tag: str, clause: Any) -> None:
    if tag == "name":
        term.name = clause.name.strip()
    elif tag == "namespace":
        term.kind = _plain(clause.namespace)
    elif tag == "def":
        term.description = str(clause.definition)
    elif tag == "synonym":
        term.synonyms.setdefault(clause.synonym.desc.strip(), clause.synonym.scope)
    elif tag == "xref":
        term.xrefs.append(_plain(clause.xref.id))
    elif tag == "alt_id":
        term.alternatives.append(_plain(clause.alt_id))
    elif tag == "is_obsolete":
        term.obsolete = clause.obsolete
    elif tag == "replaced_by":
        term.replaced_by = term.replaced_by or _plain(clause.term)


def _parsed(kind: str, lines: list[_Line]) -> Any:
    text = "\n".join([kind, *(line for _, line in lines), ""])
    try:
        return fastobo.loads(text, threads=1)
    except SyntaxError as error:
        return error


def _plain(identifier: Any) -> str:
    """An id without the escapes of the format."""
    if isinstance(identifier, fastobo.id.PrefixedIdent):
        return f"{identifier.prefix}:{identifier.local}"
    if isinstance(identifier, fastobo.id.UnprefixedIdent):
        return str(identifier.unescaped)
    return str(identifier)
