"""Neighbour-sampled blocks of a typed-edge graph: drawn by DGL on the CPU, held as plain tensors for any device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from kogner_ray.kg.backend import dgl

ALL = -1
"""Fanout that takes every in-edge."""


@dataclass(frozen=True)
class Block:
    """The in-edges of some target nodes: one step of message passing.

    Attributes:
        nodes: (S,) graph ids of all nodes that take part; the first `n_targets` are the targets.
        n_targets: T.
        sources: (E,) position in `nodes` of each edge's source.
        targets: (E,) position in `nodes` (below T) of each edge's target.
        relations: (E,) relation of each edge.
    """

    nodes: torch.Tensor
    n_targets: int
    sources: torch.Tensor
    targets: torch.Tensor
    relations: torch.Tensor

    def to(self, device: torch.device) -> Block:
        """The same block on `device`."""
        moved = [tensor.to(device) for tensor in (self.sources, self.targets, self.relations)]
        return Block(self.nodes, self.n_targets, *moved)


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

        The same seed (below 2^31) draws the same blocks, whatever was drawn before.
        """
        with _one_thread():
            dgl.seed(seed)
            _, _, blocks = self._sampler.sample_blocks(self._graph, nodes)
        return [self._block(block) for block in blocks]

    def _block(self, block: dgl.DGLGraph) -> Block:
        sources, targets = block.edges()
        relations = self._relations[block.edata[dgl.EID]]
        return Block(block.srcdata[dgl.NID], block.num_dst_nodes(), sources, targets, relations)


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
