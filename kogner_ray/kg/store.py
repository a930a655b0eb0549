"""A knowledge graph as DGL graphs: one of many node and edge types, or one homogeneous graph with typed edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.errors import DataError
from kogner_ray.kg.backend import dgl
from kogner_ray.kg.tables import KnowledgeGraph, reversed_names, with_reverse

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TypedGraph:
    """A homogeneous graph whose edges carry their relation.

    Attributes:
        graph: N nodes in row order; `ndata["type"]` (N,) node types, `edata["relation"]` (E,) relations, both int64.
        relations: name of each relation index, reversed ones last.
    """

    graph: dgl.DGLGraph
    relations: tuple[str, ...]

    @property
    def n_relations(self) -> int:
        """Number of relations, reversed ones included."""
        return len(self.relations)


def typed_graph(kg: KnowledgeGraph, *, add_reverse: bool = True) -> TypedGraph:
    """The whole graph for message passing along in-edges.

    With `add_reverse` each edge `(h, r, t)` is followed, E edges later, by `(t, r + R, h)`, so that messages reach
    heads too and know the direction that they came from.
    """
    triples, relations = kg.triples, list(kg.relations)
    if add_reverse:
        triples, relations = with_reverse(triples, len(relations)), reversed_names(relations)
    head, relation, tail = torch.from_numpy(np.ascontiguousarray(triples.T)).unbind()
    graph = dgl.graph((head, tail), num_nodes=kg.n_nodes)
    graph.edata["relation"] = relation
    graph.ndata["type"] = torch.from_numpy(kg.node_types)
    return TypedGraph(graph, tuple(relations))


def heterograph(kg: KnowledgeGraph) -> dgl.DGLGraph:
    """The graph with one node type a KG type and one edge type a (head type, relation, tail type) that occurs.

    `nodes[t].data["row"]` is the row of each node, `edges[e].data["row"]` that of each edge, both int64.

    Raises:
        DataError: the graph has no edges, which DGL cannot hold.
    """
    if not kg.n_edges:
        raise DataError("the knowledge graph has no edges; a DGL heterograph needs at least one")
    counts = np.bincount(kg.node_types, minlength=len(kg.types))
    rows = np.argsort(kg.node_types, kind="stable")
    # A node's number within its type is its rank among the rows of that type.
    local = np.empty(kg.n_nodes, dtype=np.int64)
    local[rows] = np.arange(kg.n_nodes) - np.repeat(np.cumsum(counts) - counts, counts)

    groups = _by_edge_type(kg)
    edges = {key: _local_ends(kg.triples[chosen], local) for key, chosen in groups.items()}
    graph = dgl.heterograph(edges, num_nodes_dict=dict(zip(kg.types, counts.tolist(), strict=True)))
    for name, own in zip(kg.types, np.split(rows, np.cumsum(counts)[:-1]), strict=True):
        graph.nodes[name].data["row"] = torch.from_numpy(own)
    for key, chosen in groups.items():
        graph.edges[key].data["row"] = torch.from_numpy(chosen)
    return graph


def _local_ends(triples: _Ints, local: _Ints) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(local[triples[:, 0]]), torch.from_numpy(local[triples[:, 2]])


def _by_edge_type(kg: KnowledgeGraph) -> dict[tuple[str, str, str], _Ints]:
    head, relation, tail = kg.triples.T
    n_types = len(kg.types)
    codes = (kg.node_types[head] * len(kg.relations) + relation) * n_types + kg.node_types[tail]
    order = np.argsort(codes, kind="stable")
    kinds, starts = np.unique(codes[order], return_index=True)
    groups = {}
    for code, rows in zip(kinds.tolist(), np.split(order, starts[1:]), strict=True):
        rest, tail_type = divmod(code, n_types)
        head_type, name = divmod(rest, len(kg.relations))
        groups[kg.types[head_type], kg.relations[name], kg.types[tail_type]] = rows
    return groups
