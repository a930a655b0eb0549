"""Which nodes and in-edges of a KG a rank of Z' trains on: its parts' where the KG is cut, else an even share.

In a cut KG a rank samples neighbours from its own parts' in-edges alone; nodes of the halo are seen without theirs.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.kg.backend import dgl
from kogner_ray.kg.partition import Part, read_meta, read_part
from kogner_ray.kg.store import typed_graph
from kogner_ray.kg.tables import KnowledgeGraph
from kogner_ray.train.session import Session

IntArray = npt.NDArray[np.int64]


class Ownership:
    """What one rank owns of a KG."""

    def __init__(self, kg: KnowledgeGraph, session: Session, *, parts: str | None) -> None:
        """Take this rank's share.

        Args:
            kg: the whole graph.
            session: whose rank and world size decide.
            parts: folder of parts written with reversed edges, dealt out to the ranks in turn; None for an even share.
        """
        self._kg, self._session, self._folder = kg, session, parts

    def nodes(self, nodes: IntArray) -> IntArray:
        """Those of `nodes` that this rank trains on; every one has exactly one owner."""
        if self._folder is None:
            return nodes[self._session.rank :: self._session.world_size]
        return nodes[np.isin(nodes, np.concatenate([part.rows[: part.n_own] for part in self._parts] or [nodes[:0]]))]

    def graph(self) -> dgl.DGLGraph:
        """All N nodes with the in-edges that this rank samples from, reversed edges included."""
        if self._folder is None:
            return typed_graph(self._kg).graph
        own = np.concatenate([part.triples for part in self._parts] or [np.empty((0, 3), dtype=np.int64)])
        heads, relations, tails = torch.from_numpy(own).unbind(1)
        graph = dgl.graph((heads, tails), num_nodes=self._kg.n_nodes)
        graph.edata["relation"] = relations
        return graph

    @cached_property
    def _parts(self) -> list[Part]:
        folder = Path(str(self._folder))
        indices = range(self._session.rank, read_meta(folder).n_parts, self._session.world_size)
        return [read_part(folder, index) for index in indices]
