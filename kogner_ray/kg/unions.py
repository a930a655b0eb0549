"""Clusters of nodes that grow by pairs, unless a type or a vocabulary objects: a union-find that keeps account."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from kogner_ray.kg.formats.checks import UNKNOWN_TYPE
from kogner_ray.kg.linking import types_alike
from kogner_ray.kg.names import bare_id

Evidence = Literal["cluster", "id", "reference", "shared reference", "name", "synonym"]
Refusal = Literal["type", "vocabulary", "ambiguous reference", "ambiguous name"]
VocabularyId = tuple[str, str]
"""Vocabulary and local part, as `("doid", "1438")`."""

_N_EXAMPLES = 5
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


def vocabulary_id(concept: str) -> VocabularyId | None:
    """Vocabulary and local part of an id, as all sources write them; None for one without a prefix."""
    prefix, _, local = bare_id(concept).partition(":")
    if not local or prefix in ("http", "https", "url"):
        return None
    prefix = _RELEASE.sub("", prefix)
    prefix = _PREFIXES.get(prefix, "snomedct" if prefix.startswith("snomedct") else prefix)
    return prefix, local


@dataclass
class Unions:
    """Clusters of the rows of a node table, at first each its own.

    Attributes:
        nodes: the table.
        source: which graph each row is from, for ids that name no vocabulary.
        joined: evidence -> times that it joined two clusters.
        refused: reason -> times that evidence was refused.
        examples: a few of each.
    """

    nodes: pa.Table
    source: Sequence[int]
    joined: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Read types and ids."""
        self._parent = list(range(self.nodes.num_rows))
        self._members: dict[int, list[int]] = {}
        self.types: list[str] = self.nodes["type"].cast(pa.string()).to_pylist()
        self._ids: list[str] = self.nodes["id"].to_pylist()
        self.own = list(self._own_ids())

    def find(self, row: int) -> int:
        """The first row of the cluster."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, one: int, other: int, evidence: Evidence) -> None:
        """Join two clusters, or count what speaks against it."""
        first, second = self.find(one), self.find(other)
        if first == second:
            return
        reason = self._objection(first, second)
        if reason is None:
            self.unite(first, second, evidence)
        else:
            self.refused[reason] += 1
            self._show(reason, f"{evidence}: {self._about(one)} and {self._about(other)}")

    def unite(self, one: int, other: int, evidence: Evidence) -> None:
        """Join two clusters, whatever speaks against it."""
        first, second = sorted((self.find(one), self.find(other)))
        if first == second:
            return
        self._show(evidence, f"{self._about(one)} = {self._about(other)}")
        self._members[first] = self._members.get(first, [first]) + self._members.pop(second, [second])
        self._parent[second] = first
        self.joined[evidence] += 1

    def one_a_vocabulary(self, rows: Iterable[int], reason: Refusal, what: str) -> list[int]:
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

    def _objection(self, first: int, second: int) -> Refusal | None:
        kinds = self.types[first], self.types[second]
        if UNKNOWN_TYPE not in kinds and not types_alike(*kinds):
            return "type"
        mine, others = self._by_vocabulary(first), self._by_vocabulary(second)
        shared = mine.keys() & others.keys()
        return "vocabulary" if any(not mine[word] & others[word] for word in shared) else None

    def _vocabularies(self, root: int) -> Iterator[VocabularyId]:
        for row in self._members.get(root, (root,)):
            yield from self.own[row] or ((f"graph {self.source[row]}", self._ids[row]),)

    def _by_vocabulary(self, root: int) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for word, local in self._vocabularies(root):
            found[word].add(local)
        return found

    def _own_ids(self) -> Iterator[tuple[VocabularyId, ...]]:
        curies = self.nodes["curie"].to_pylist() if "curie" in self.nodes.column_names else [None] * len(self._ids)
        for own, curie in zip(self._ids, curies, strict=True):
            ids = (vocabulary_id(own), vocabulary_id(curie or ""))
            yield tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None))

    def _about(self, row: int) -> str:
        return f"{self._ids[row]} {self.nodes['name'][row].as_py()}"

    def _show(self, kind: str, example: str) -> None:
        if len(self.examples[kind]) < _N_EXAMPLES:
            self.examples[kind].append(example)
