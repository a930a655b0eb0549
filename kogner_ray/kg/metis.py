"""Balanced parts of a graph with few edges between them, by METIS (Karypis and Kumar 1998) as DGL ships it."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.kg.backend import dgl

_Ints = npt.NDArray[np.int64]


def metis_parts(edges: tuple[_Ints, _Ints], *, n_nodes: int, n_parts: int, balance_edges: bool) -> _Ints:
    """Part of each node, (N,); every part has a node.

    DGL gives METIS no seed: equal calls in one process may give different parts.

    Args:
        edges: heads and tails, each (E,); direction, loops and repetition do not matter.
        n_nodes: number of nodes N.
        n_parts: number of parts, at most N.
        balance_edges: balance the in-edges of the parts beside their nodes. Without it a part around a hub may hold
            most of the edges.
    """
    # METIS aborts or never returns on loops and repeated edges, and divides by zero for one part.
    linked, heads, tails = _simple(*edges)
    parts = np.full(n_nodes, -1, dtype=np.int64)
    if n_parts == 1 or len(linked) < n_parts:
        parts[linked] = np.arange(len(linked)) % n_parts
    else:
        graph = dgl.graph((torch.from_numpy(heads), torch.from_numpy(tails)), num_nodes=len(linked))
        parts[linked] = _fill_empty(_call_metis(graph, n_parts, balance_edges), n_parts)
    return _fill_up(parts, n_parts)


def _simple(heads: _Ints, tails: _Ints) -> tuple[_Ints, _Ints, _Ints]:
    """The nodes that have a neighbour, and the distinct edges between them, loops left out, by position in these."""
    kept = heads != tails
    linked, ends = np.unique(np.concatenate([heads[kept], tails[kept]]), return_inverse=True)
    pairs = np.unique(ends[: len(ends) // 2] * max(len(linked), 1) + ends[len(ends) // 2 :])
    return linked, *divmod(pairs, max(len(linked), 1))


def _call_metis(graph: dgl.DGLGraph, n_parts: int, balance_edges: bool) -> _Ints:
    weigh_nodes = torch.zeros(graph.num_nodes(), dtype=torch.int64) if balance_edges else None
    with contextlib.redirect_stdout(io.StringIO()):  # DGL prints its timings
        parts = dgl.metis_partition_assignment(graph, n_parts, balance_ntypes=weigh_nodes, balance_edges=balance_edges)
    return np.asarray(parts, dtype=np.int64)


def _fill_empty(parts: _Ints, n_parts: int) -> _Ints:
    """Give each empty part one node of the part that is then largest."""
    parts, counts = parts.copy(), np.bincount(parts, minlength=n_parts)
    for empty in np.flatnonzero(counts == 0):
        largest = int(counts.argmax())
        parts[np.flatnonzero(parts == largest)[0]] = empty
        counts[largest], counts[empty] = counts[largest] - 1, 1
    return parts


def _fill_up(parts: _Ints, n_parts: int) -> _Ints:
    """Give the nodes without a part (-1) to the parts with the fewest nodes."""
    free = np.flatnonzero(parts < 0)
    counts = np.bincount(parts[parts >= 0], minlength=n_parts)
    room = np.maximum(-(-len(parts) // n_parts) - counts, 0)
    owners = np.repeat(np.arange(n_parts), room)
    level = np.arange(len(owners)) - np.repeat(np.cumsum(room) - room, room) + counts[owners]
    parts[free] = owners[np.argsort(level, kind="stable")][: len(free)]
    return parts
