"""Nodes that are one concept, found by their ids and names: union-find with guards against chains.

Evidence, the strongest first: nodes share a `cluster` of their source (trusted as it is), an id of their own (id,
`curie`), an id that one of them is and the other refers to (`xrefs`, or an edge that says so), an id that both refer
to, a name. Two clusters are not joined when

- their types cannot denote the same things (`kg.linking.types_alike`),
- one vocabulary lists them as two: `DOID:1` and `DOID:2` are different, whatever their names and references say.

A reference or name that several concepts of one vocabulary have is ambiguous and joins none of them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kogner_ray.config import Config
from kogner_ray.kg.formats.checks import UNKNOWN_TYPE
from kogner_ray.kg.linking import types_alike
from kogner_ray.kg.names import bare_id, normalise_name

Evidence = Literal["cluster", "id", "reference", "shared reference", "name", "synonym"]
Refusal = Literal["type", "vocabulary", "ambiguous reference", "ambiguous name"]
_Id = tuple[str, str]

_PREFIXES = {
    "umls_cui": "umls",
    "umls_id": "umls",
    "msh": "mesh",
    "nci": "ncit",
    "mim": "omim",
    "ordo": "orphanet",
    "orpha": "orphanet",
    "entrez": "ncbigene",
    "geneid": "ncbigene",
    "entrezgene": "ncbigene",
    "ncbitaxonomy": "ncbitaxon",
    "uniprot": "uniprotkb",
}
_RELEASE = re.compile(r"_\d{4}_\d{2}_\d{2}$")
_N_EXAMPLES = 5


class ConceptConfig(Config):
    """What says that two nodes are one concept.

    Attributes:
        references: `xrefs`, and edges of `relations`.
        relations: relations that join two nodes of one concept.
        names: equal normalised names.
        synonyms: the name of one is a synonym of the other, and of no third.
        types: for names, types must be equal, or only alike (`types_alike`).
    """

    references: bool = True
    relations: tuple[str, ...] = ("exact_match", "same_as", "sameAs", "equivalent_to", "exactMatch")
    names: bool = True
    synonyms: bool = False
    types: Literal["alike", "equal"] = "alike"


@dataclass(frozen=True)
class Clusters:
    """Concepts of a node table.

    Attributes:
        first: (N,) the first row of each row's concept.
        joined: evidence -> times that it joined two clusters.
        refused: reason -> times that evidence was refused.
        examples: a few of each as "evidence: id name = id name".
    """

    first: npt.NDArray[np.int64]
    joined: Mapping[str, int]
    refused: Mapping[str, int]
    examples: Mapping[str, list[str]]


def find_clusters(
    nodes: pa.Table, config: ConceptConfig, *, same: Iterable[tuple[int, int]] = (), source: Sequence[int] | None = None
) -> Clusters:
    """Cluster the rows of a node table.

    Args:
        nodes: columns id, name, type, synonyms; curie, xrefs and cluster where there are such.
        config: what counts.
        same: pairs of rows that an edge says are one concept.
        source: which graph each row is from, for ids that name no vocabulary; all from one when None.
    """
    work = _Clustering(nodes, config, source or [0] * nodes.num_rows)
    work.join_clusters()
    work.join_ids()
    if config.references:
        work.join_references(same)
    if config.names:
        work.join_names()
    first = np.fromiter((work.find(row) for row in range(nodes.num_rows)), dtype=np.int64, count=nodes.num_rows)
    return Clusters(first, dict(work.joined), dict(work.refused), dict(work.examples))


def vocabulary_id(concept: str) -> _Id | None:
    """Vocabulary and local part of an id, as all sources write them; None for one without a prefix."""
    prefix, _, local = bare_id(concept).partition(":")
    if not local or prefix in ("http", "https", "url"):
        return None
    prefix = _RELEASE.sub("", prefix)
    prefix = _PREFIXES.get(prefix, "snomedct" if prefix.startswith("snomedct") else prefix)
    return prefix, local


@dataclass
class _Clustering:
    nodes: pa.Table
    config: ConceptConfig
    source: Sequence[int]
    joined: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._parent = list(range(self.nodes.num_rows))
        self._members: dict[int, list[int]] = {}
        self._types: list[str] = self.nodes["type"].cast(pa.string()).to_pylist()
        self._ids: list[str] = self.nodes["id"].to_pylist()
        self._own = list(self._own_ids())

    def find(self, row: int) -> int:
        """The first row of the cluster."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join_clusters(self) -> None:
        """What the sources themselves hold for one concept."""
        if "cluster" not in self.nodes.column_names:
            return
        groups = defaultdict(list)
        for row, name in enumerate(self.nodes["cluster"].to_pylist()):
            if name:
                groups[self.source[row], name].append(row)
        for rows in groups.values():
            for row in rows[1:]:
                self._unite(rows[0], row, "cluster")

    def join_ids(self) -> None:
        """Rows with an id in common."""
        groups = defaultdict(list)
        for row, own in enumerate(self._own):
            for id_ in own:
                groups[id_].append(row)
        for rows in groups.values():
            for row in rows[1:]:
                self._join(rows[0], row, "id")

    def join_references(self, same: Iterable[tuple[int, int]]) -> None:
        """Rows that refer to another, or to one and the same id; from one vocabulary only one may."""
        owners = {id_: row for row, own in enumerate(self._own) for id_ in reversed(own)}
        referring: dict[_Id, list[int]] = defaultdict(list)
        for row, id_ in self._references(same):
            referring[id_].append(row)
        unowned = []
        for id_, rows in referring.items():
            clear = self._one_a_vocabulary(rows, "ambiguous reference", ":".join(id_))
            if id_ in owners:
                for row in clear:
                    self._join(owners[id_], row, "reference")
            else:
                unowned.append(clear)
        for rows in unowned:
            for row in rows[1:]:
                self._join(rows[0], row, "shared reference")

    def join_names(self) -> None:
        """Rows of one name; with synonyms, also rows that are called so otherwise."""
        named: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(self.nodes["name"].to_pylist()):
            named[_name_key(name)].append(row)
        named.pop("", None)
        for key, rows in named.items():
            self._join_named(key, rows, "name")
        if self.config.synonyms:
            called = {key: list(rows) for key, rows in named.items()}
            for row, synonyms in enumerate(self.nodes["synonyms"].to_pylist()):
                for key in {_name_key(name) for name in synonyms or ()} & called.keys():
                    called[key].append(row)
            for key, rows in called.items():
                if len(rows) > len(named[key]):
                    self._join_named(key, rows, "synonym")

    def _join_named(self, key: str, rows: list[int], evidence: Evidence) -> None:
        for group in self._by_type(rows):
            clear = self._one_a_vocabulary(group, "ambiguous name", key)
            # an ambiguous name joins nothing: whose name is it?
            if len({self.find(row) for row in group}) == len({self.find(row) for row in clear}):
                for row in clear[1:]:
                    self._join(clear[0], row, evidence)

    def _by_type(self, rows: list[int]) -> list[list[int]]:
        if len(rows) < 2:
            return []
        groups: list[list[int]] = []
        for row in rows:
            fitting = (group for group in groups if self._alike(row, group[0], names=True))
            group = next(fitting, None)
            if group is None:
                groups.append([row])
            else:
                group.append(row)
        return [group for group in groups if len(group) > 1]

    def _one_a_vocabulary(self, rows: Iterable[int], reason: Refusal, what: str) -> list[int]:
        """Those of `rows` whose vocabulary has no other cluster among them; the others are refused."""
        roots = list(dict.fromkeys(self.find(row) for row in rows))
        if len(roots) < 2:
            return roots
        seen = Counter(word for root in roots for word in {word for word, _ in self._vocabularies(root)})
        clear = [root for root in roots if all(seen[word] == 1 for word, _ in self._vocabularies(root))]
        if len(clear) < len(roots):
            self.refused[reason] += len(roots) - len(clear)
            unclear = [root for root in roots if root not in clear]
            self._show(reason, f"{what}: {', '.join(self._ids[row] for row in unclear[:3])}")
        return clear

    def _join(self, one: int, other: int, evidence: Evidence) -> None:
        first, second = self.find(one), self.find(other)
        if first == second:
            return
        reason = self._objection(first, second)
        if reason is None:
            self._unite(first, second, evidence)
        else:
            self.refused[reason] += 1
            self._show(reason, f"{evidence}: {self._about(one)} and {self._about(other)}")

    def _objection(self, first: int, second: int) -> Refusal | None:
        if not self._alike(first, second, names=False):
            return "type"
        mine, others = self._by_vocabulary(first), self._by_vocabulary(second)
        shared = mine.keys() & others.keys()
        return "vocabulary" if any(not mine[word] & others[word] for word in shared) else None

    def _alike(self, one: int, other: int, *, names: bool) -> bool:
        first, second = self._types[one], self._types[other]
        if first == second:
            return True
        if not names:
            return UNKNOWN_TYPE in (first, second) or types_alike(first, second)
        return self.config.types == "alike" and types_alike(first, second)

    def _unite(self, one: int, other: int, evidence: Evidence) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        if first == second:
            return
        self._show(evidence, f"{self._about(one)} = {self._about(other)}")
        self._members[first] = self._members.get(first, [first]) + self._members.pop(second, [second])
        self._parent[second] = first
        self.joined[evidence] += 1

    def _vocabularies(self, root: int) -> Iterator[_Id]:
        for row in self._members.get(root, (root,)):
            yield from self._own[row] or ((f"graph {self.source[row]}", self._ids[row]),)

    def _by_vocabulary(self, root: int) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for word, local in self._vocabularies(root):
            found[word].add(local)
        return found

    def _own_ids(self) -> Iterator[tuple[_Id, ...]]:
        curies = self.nodes["curie"].to_pylist() if "curie" in self.nodes.column_names else [None] * len(self._ids)
        for own, curie in zip(self._ids, curies, strict=True):
            ids = (vocabulary_id(own), vocabulary_id(curie or ""))
            yield tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None))

    def _references(self, same: Iterable[tuple[int, int]]) -> Iterator[tuple[int, _Id]]:
        if "xrefs" in self.nodes.column_names:
            for row, xrefs in enumerate(self.nodes["xrefs"].to_pylist()):
                for xref in [xrefs] if isinstance(xrefs, str) else xrefs or ():
                    id_ = vocabulary_id(xref)
                    if id_ is not None:
                        yield row, id_
        for head, tail in same:
            for id_ in self._own[tail][:1]:
                yield head, id_

    def _about(self, row: int) -> str:
        return f"{self._ids[row]} {self.nodes['name'][row].as_py()}"

    def _show(self, kind: str, example: str) -> None:
        if len(self.examples[kind]) < _N_EXAMPLES:
            self.examples[kind].append(example)


def _name_key(name: str | None) -> str:
    """Normalised; "" where it says nothing: a number, a single character."""
    key = normalise_name(name or "")
    return "" if len(key) < 2 or key.isdigit() else key
