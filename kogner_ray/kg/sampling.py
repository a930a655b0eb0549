"""Neighbour-sampled blocks of a typed-edge graph: drawn by DGL on the CPU, held as plain tensors for any device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from kogner_ray.kg.backend import dgl

ALL = -1
"""Fanout that takes every in-edge."""

_ROWS = 64


@dataclass(frozen=True)
class Block:
    """The in-edges of some target nodes: one step of message passing.

    Targets with as many in-edges stand together, so that each such run is a dense array.

    Attributes:
        nodes: (S,) graph ids of all nodes that take part; the first `n_targets` are the targets. Some are repeated,
            without an edge, so that S takes few values: each new one costs oneDNN a new kernel.
        n_targets: T.
        linked: (L,) position in `nodes` (below T) of each target that has an in-edge, by rising number of in-edges.
        runs: (in-edges n, how many of `linked` have n) by rising n.
        sources: (E,) position in `nodes` of each edge's source; first all of `linked[0]`, then all of `linked[1]` ...
        relations: (E,) relation of each edge, in the same order.
    """

    nodes: torch.Tensor
    n_targets: int
    linked: torch.Tensor
    runs: tuple[tuple[int, int], ...]
    sources: torch.Tensor
    relations: torch.Tensor

    @classmethod
    def of(
        cls,
        nodes: torch.Tensor,
        n_targets: int,
        *,
        sources: torch.Tensor,
        targets: torch.Tensor,
        relations: torch.Tensor,
    ) -> Block:
        """A block of edges in any order; `targets` are positions in `nodes` (below T)."""
        degrees = torch.bincount(targets, minlength=n_targets)
        by_degree = torch.argsort(degrees, stable=True)
        linked = by_degree[n_targets - int(torch.count_nonzero(degrees)) :]
        rank = torch.empty_like(by_degree)
        rank[by_degree] = torch.arange(n_targets)
        order = torch.argsort(torch.index_select(rank, 0, targets), stable=True)
        sizes, counts = torch.unique_consecutive(degrees[linked], return_counts=True)
        runs = tuple(zip(sizes.tolist(), counts.tolist(), strict=True))
        return cls(nodes, n_targets, linked, runs, *(torch.index_select(x, 0, order) for x in (sources, relations)))

    @property
    def targets(self) -> torch.Tensor:
        """(E,) position in `nodes` of each edge's target."""
        sizes = [size for size, count in self.runs for _ in range(count)]
        return self.linked.repeat_interleave(torch.tensor(sizes, dtype=torch.int64, device=self.linked.device))

    def to(self, device: torch.device) -> Block:
        """The same block on `device`."""
        linked, sources, relations = (tensor.to(device) for tensor in (self.linked, self.sources, self.relations))
        return Block(self.nodes, self.n_targets, linked, self.runs, sources, relations)


@contextmanager
def _one_thread() -> Iterator[None]:
    # DGL's seed is of a stream a thread, but which thread samples which node is left to chance
    threads = dgl.utils.get_num_threads()
    dgl.utils.set_num_threads(1)
    try:
        yield
    finally:
        dgl.utils.set_num_threads(threads)


class BlockSampler:
    """Draws the blocks that a model of `len(fanouts)` layers needs to compute some nodes."""

    def __init__(self, graph: dgl.DGLGraph, fanouts: Sequence[int]) -> None:
        """Prepare sampling.

        Args:
            graph: homogeneous, with `edata["relation"]`, (E,) int64.
            fanouts: in-edges drawn a node, without replacement, input layer first; `ALL` takes every one.
        """
        self._graph, self._sampler = graph, dgl.dataloading.NeighborSampler(list(fanouts))
        self._relations = graph.edata["relation"]

    def sample(self, nodes: torch.Tensor, *, seed: int) -> list[Block]:
        """Blocks for `nodes` (distinct graph ids), input layer first; the last one's targets are `nodes`, in order.

        The same seed (below 2^31) draws the same blocks, whatever was drawn before. For no nodes there are no blocks.
        """
        if not len(nodes):
            return []
        with _one_thread():
            dgl.seed(seed)
            _, _, blocks = self._sampler.sample_blocks(self._graph, nodes)
        padded: list[Block] = []
        place, n_targets = torch.arange(len(nodes)), len(nodes)
        for block in reversed(blocks):
            first, place = place, torch.cat([place, n_targets + torch.arange(block.num_src_nodes() - len(place))])
            padded.append(self._block(block, first, place, n_targets))
            n_targets = len(padded[-1].nodes)  # with its padding, it is what the block before it has to give
        return padded[::-1]

    def _block(self, block: dgl.DGLGraph, targets: torch.Tensor, sources: torch.Tensor, n_targets: int) -> Block:
        """`block` with its targets and its nodes moved to those places."""
        ids = block.srcdata[dgl.NID]
        size = max(n_targets, len(ids) + n_targets - len(targets))
        nodes = ids[:1].repeat(-(-size // _ROWS) * _ROWS)
        nodes[sources] = ids
        starts, ends = block.edges()
        relations = torch.index_select(self._relations, 0, block.edata[dgl.EID])
        return Block.of(nodes, n_targets, sources=sources[starts], targets=targets[ends], relations=relations)


def whole_graph(graph: dgl.DGLGraph, *, fanout: int, chunk: int, seed: int) -> Iterator[Block]:
    """One-layer blocks whose targets together are all nodes, each once.

    Args:
        graph: as for `BlockSampler`.
        fanout: in-edges drawn a node; bounds the memory of a block, which hubs would otherwise burst.
        chunk: targets a block.
        seed: the same one draws the same edges.
    """
    sampler = BlockSampler(graph, [fanout])
    for start in range(0, graph.num_nodes(), chunk):
        yield sampler.sample(torch.arange(start, min(start + chunk, graph.num_nodes())), seed=seed + start)[0]
