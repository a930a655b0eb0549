"""Nodes that are one concept, found by their ids and names: union-find with guards against chains.

Evidence, the strongest first: nodes share a `cluster` of their source (trusted as it is), an id of their own (id,
`curie`), an id that one of them is and the other refers to (`xrefs`, or an edge that says so), an id that both refer
to, a name. Two clusters are not joined when

- their types cannot denote the same things (`kg.linking.types_alike`),
- one vocabulary lists them as two: `DOID:1` and `DOID:2` are different, whatever their names and references say.

A reference or name that several concepts of one vocabulary have is ambiguous and joins none of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kogner_ray.config import Config
from kogner_ray.kg.linking import types_alike
from kogner_ray.kg.names import normalise_name
from kogner_ray.kg.unions import Evidence, Unions, VocabularyId, vocabulary_id


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
    unions = Unions(nodes, source or [0] * nodes.num_rows)
    work = _Matching(nodes, config, unions)
    work.join_clusters()
    work.join_ids()
    if config.references:
        work.join_references(same)
    if config.names:
        work.join_names()
    first = np.fromiter((unions.find(row) for row in range(nodes.num_rows)), dtype=np.int64, count=nodes.num_rows)
    return Clusters(first, dict(unions.joined), dict(unions.refused), dict(unions.examples))


@dataclass
class _Matching:
    """The evidence in a node table, taken up step by step."""

    nodes: pa.Table
    config: ConceptConfig
    unions: Unions

    def join_clusters(self) -> None:
        """What the sources themselves hold for one concept."""
        if "cluster" not in self.nodes.column_names:
            return
        groups = defaultdict(list)
        for row, name in enumerate(self.nodes["cluster"].to_pylist()):
            if name:
                groups[self.unions.source[row], name].append(row)
        for rows in groups.values():
            for row in rows[1:]:
                self.unions.unite(rows[0], row, "cluster")

    def join_ids(self) -> None:
        """Rows with an id in common."""
        groups = defaultdict(list)
        for row, own in enumerate(self.unions.own):
            for id_ in own:
                groups[id_].append(row)
        for rows in groups.values():
            for row in rows[1:]:
                self.unions.join(rows[0], row, "id")

    def join_references(self, same: Iterable[tuple[int, int]]) -> None:
        """Rows that refer to another, or to one and the same id; from one vocabulary only one may."""
        owners = {id_: row for row, own in enumerate(self.unions.own) for id_ in reversed(own)}
        referring: dict[VocabularyId, list[int]] = defaultdict(list)
        for row, id_ in self._references(same):
            referring[id_].append(row)
        unowned = []
        for id_, rows in referring.items():
            clear = self.unions.one_a_vocabulary(rows, "ambiguous reference", ":".join(id_))
            if id_ in owners:
                for row in clear:
                    self.unions.join(owners[id_], row, "reference")
            else:
                unowned.append(clear)
        for rows in unowned:
            for row in rows[1:]:
                self.unions.join(rows[0], row, "shared reference")

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
            clear = self.unions.one_a_vocabulary(group, "ambiguous name", key)
            # an ambiguous name joins nothing: whose name is it?
            if len({self.unions.find(row) for row in group}) == len({self.unions.find(row) for row in clear}):
                for row in clear[1:]:
                    self.unions.join(clear[0], row, evidence)

    def _by_type(self, rows: list[int]) -> list[list[int]]:
        if len(rows) < 2:
            return []
        groups: list[list[int]] = []
        for row in rows:
            fitting = (group for group in groups if self._alike(row, group[0]))
            group = next(fitting, None)
            if group is None:
                groups.append([row])
            else:
                group.append(row)
        return [group for group in groups if len(group) > 1]

    def _alike(self, one: int, other: int) -> bool:
        first, second = self.unions.types[one], self.unions.types[other]
        return first == second or (self.config.types == "alike" and types_alike(first, second))

    def _references(self, same: Iterable[tuple[int, int]]) -> Iterator[tuple[int, VocabularyId]]:
        if "xrefs" in self.nodes.column_names:
            for row, xrefs in enumerate(self.nodes["xrefs"].to_pylist()):
                for xref in [xrefs] if isinstance(xrefs, str) else xrefs or ():
                    id_ = vocabulary_id(xref)
                    if id_ is not None:
                        yield row, id_
        for head, tail in same:
            for id_ in self.unions.own[tail][:1]:
                yield head, id_


def _name_key(name: str | None) -> str:
    """Normalised; "" where it says nothing: a number, a single character."""
    key = normalise_name(name or "")
    return "" if len(key) < 2 or key.isdigit() else key
