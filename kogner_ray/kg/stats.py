"""What a knowledge graph is made of: degrees, types, relations, components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from rich.table import Table
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from kogner_ray.kg.tables import KnowledgeGraph

QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""Of the degree; the last one is the largest."""

_N_HUBS = 10
_Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class TypeStats:
    """Nodes of one type.

    Attributes:
        nodes: how many.
        isolated: of them without an edge.
        synonyms: synonyms of all of them.
        mean_degree: edges a node, each end counted.
        max_degree: of the node with the most.
    """

    nodes: int
    isolated: int
    synonyms: int
    mean_degree: float
    max_degree: int


@dataclass(frozen=True)
class RelationStats:
    """Edges of one relation.

    Attributes:
        edges: how many.
        heads: distinct heads.
        tails: distinct tails.
        loops: edges from a node to itself.
        between: edges by "head type -> tail type", most first.
    """

    edges: int
    heads: int
    tails: int
    loops: int
    between: Mapping[str, int]


@dataclass(frozen=True)
class KgStats:
    """A knowledge graph in figures.

    Attributes:
        nodes: how many.
        edges: how many.
        isolated: nodes without an edge.
        components: connected components (direction aside), isolated nodes among them.
        largest_component: nodes of the largest.
        mean_degree: edges a node, each end counted.
        degree_quantiles: quantile -> degree that such a share of the nodes does not exceed.
        degree_counts: (degree, nodes that have it), by rising degree.
        hubs: id, name, type and degree of the nodes with the most edges.
        types: by type, most nodes first.
        relations: by relation, most edges first.
    """

    nodes: int
    edges: int
    isolated: int
    components: int
    largest_component: int
    mean_degree: float
    degree_quantiles: Mapping[str, int]
    degree_counts: tuple[tuple[int, int], ...]
    hubs: tuple[Mapping[str, Any], ...]
    types: Mapping[str, TypeStats]
    relations: Mapping[str, RelationStats]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """Tables for the terminal: the whole, types, relations, hubs."""
        return [_table(title, header, rows) for title, header, rows in self.rows()]

    def rows(self) -> list[tuple[str, tuple[str, ...], _Rows]]:
        """Title, header and rows of each table, as text."""
        whole: _Rows = [("nodes", f"{self.nodes:,}"), ("edges", f"{self.edges:,}")]
        whole += [("isolated nodes", f"{self.isolated:,}"), ("components", f"{self.components:,}")]
        whole += [("nodes of the largest", f"{self.largest_component:,}"), ("mean degree", f"{self.mean_degree:.2f}")]
        whole += [(f"degree, {name}", f"{value:,}") for name, value in self.degree_quantiles.items()]
        types: _Rows = [
            (name, f"{t.nodes:,}", f"{t.isolated:,}", f"{t.synonyms:,}", f"{t.mean_degree:.2f}", f"{t.max_degree:,}")
            for name, t in self.types.items()
        ]
        relations: _Rows = [
            (name, f"{r.edges:,}", f"{r.heads:,}", f"{r.tails:,}", f"{r.loops:,}", _between(r.between))
            for name, r in self.relations.items()
        ]
        hubs: _Rows = [(hub["name"], hub["id"], hub["type"], f"{hub['degree']:,}") for hub in self.hubs]
        return [
            ("Graph", ("", "count"), whole),
            ("Types", ("type", "nodes", "isolated", "synonyms", "mean degree", "max degree"), types),
            ("Relations", ("relation", "edges", "heads", "tails", "loops", "between"), relations),
            ("Nodes with the most edges", ("name", "id", "type", "degree"), hubs),
        ]


def statistics(kg: KnowledgeGraph) -> KgStats:
    """Count everything in `kg`."""
    heads, _, tails = kg.triples.T
    degrees = np.bincount(np.concatenate([heads, tails]), minlength=kg.n_nodes)
    n_components, largest = _components(heads, tails, kg.n_nodes)
    values, counts = np.unique(degrees, return_counts=True)
    return KgStats(
        nodes=kg.n_nodes,
        edges=kg.n_edges,
        isolated=int((degrees == 0).sum()),
        components=n_components,
        largest_component=largest,
        mean_degree=_mean(degrees),
        degree_quantiles=_quantiles(degrees),
        degree_counts=tuple(zip(values.tolist(), counts.tolist(), strict=True)),
        hubs=_hubs(kg, degrees),
        types=_types(kg, degrees),
        relations=_relations(kg),
    )


def _components(heads: npt.NDArray[np.int64], tails: npt.NDArray[np.int64], n_nodes: int) -> tuple[int, int]:
    if not n_nodes:
        return 0, 0
    graph = coo_matrix((np.ones(len(heads), dtype=np.int8), (heads, tails)), shape=(n_nodes, n_nodes))
    n_components, labels = connected_components(graph, directed=False)
    return int(n_components), int(np.bincount(labels).max())


def _quantiles(degrees: npt.NDArray[np.int64]) -> dict[str, int]:
    if not len(degrees):
        return {}
    values = np.quantile(degrees, QUANTILES, method="higher").tolist()
    names = [f"{100 * quantile:g} %" for quantile in QUANTILES[:-1]] + ["largest"]
    return dict(zip(names, map(int, values), strict=True))


def _hubs(kg: KnowledgeGraph, degrees: npt.NDArray[np.int64]) -> tuple[Mapping[str, Any], ...]:
    rows = [int(row) for row in np.argsort(-degrees, kind="stable")[:_N_HUBS] if degrees[row]]
    about = kg.nodes.select(["id", "name", "type"])
    return tuple({c: about[c][row].as_py() for c in about.column_names} | {"degree": int(degrees[row])} for row in rows)


def _types(kg: KnowledgeGraph, degrees: npt.NDArray[np.int64]) -> dict[str, TypeStats]:
    lengths = pc.fill_null(pc.list_value_length(kg.nodes["synonyms"]), 0)
    synonyms = np.bincount(kg.node_types, weights=np.asarray(lengths), minlength=len(kg.types))
    found = {}
    for code, name in enumerate(kg.types):
        own = degrees[kg.node_types == code]
        found[name] = TypeStats(len(own), int((own == 0).sum()), int(synonyms[code]), _mean(own), int(own.max()))
    return dict(sorted(found.items(), key=lambda item: (-item[1].nodes, item[0])))


def _relations(kg: KnowledgeGraph) -> dict[str, RelationStats]:
    order = np.argsort(kg.triples[:, 1], kind="stable")
    sorted_edges = kg.triples[order]
    bounds = np.searchsorted(sorted_edges[:, 1], np.arange(len(kg.relations) + 1))
    found = {}
    for code, name in enumerate(kg.relations):
        heads, _, tails = sorted_edges[bounds[code] : bounds[code + 1]].T
        pairs, counts = np.unique(kg.node_types[heads] * len(kg.types) + kg.node_types[tails], return_counts=True)
        most = sorted(zip(counts.tolist(), pairs.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
        between = {
            f"{kg.types[pair // len(kg.types)]} -> {kg.types[pair % len(kg.types)]}": count for count, pair in most
        }
        loops = int((heads == tails).sum())
        found[name] = RelationStats(len(heads), len(np.unique(heads)), len(np.unique(tails)), loops, between)
    return dict(sorted(found.items(), key=lambda item: (-item[1].edges, item[0])))


def _mean(degrees: npt.NDArray[np.int64]) -> float:
    return float(degrees.mean()) if len(degrees) else 0.0


def _between(pairs: Mapping[str, int], most: int = 3) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(pairs.items())[:most])
    return shown if len(pairs) <= most else f"{shown}, {len(pairs) - most} more"


def _table(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title)
    for name in header:
        table.add_column(name, justify="left" if name in ("", *_TEXT) else "right")
    for row in rows:
        table.add_row(*row)
    return table


_TEXT = ("type", "relation", "between", "name", "id")
