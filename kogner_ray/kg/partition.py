"""Parts of a knowledge graph on disk, each with all in-edges of its own nodes and the one-hop halo these come from.

    parts/
      meta.json                   PartitionMeta
      part-00000/nodes.parquet    node (row in the KG), id, type, halo; own nodes first, then the halo, each by row
      part-00000/edges.parquet    head, relation, tail (rows and relation index), edge (row in the KG's edge table)
      part-00001/...

An edge belongs to the part of its tail, so that every edge lives in exactly one part and message passing along in-edges
needs no other part; the heads that belong elsewhere are the part's halo.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.errors import ConfigError, DataError
from kogner_ray.kg.folder import whole_folder
from kogner_ray.kg.tables import KnowledgeGraph, reversed_names, with_reverse

_Ints = npt.NDArray[np.int64]


class PartitionConfig(Config):
    """How a graph is cut.

    Attributes:
        n_parts: number of parts.
        method: METIS, or random parts of equal size (the control).
        balance_edges: METIS balances the parts' edges beside their nodes.
        add_reverse: also store every edge reversed, as a relation of its own (see `kogner_ray.kg.tables`).
        seed: of the random parts.
    """

    n_parts: int = Field(default=4, ge=1)
    method: Literal["metis", "random"] = "metis"
    balance_edges: bool = True
    add_reverse: bool = False
    seed: int = 0


@dataclass(frozen=True)
class PartitionMeta:
    """What a folder of parts holds.

    Attributes:
        n_nodes: nodes of the graph.
        n_edges: edges over all parts, reversed ones included.
        types: name of each node type.
        relations: name of each relation index.
        method: how nodes were assigned.
        nodes: own nodes of each part.
        halo: halo nodes of each part.
        edges: edges of each part.
        edge_cut: share of edges whose head belongs to another part.
        node_balance: own nodes of the largest part over the mean; 1 is perfect.
        edge_balance: edges of the largest part over the mean.
    """

    n_nodes: int
    n_edges: int
    types: list[str]
    relations: list[str]
    method: str
    nodes: list[int]
    halo: list[int]
    edges: list[int]
    edge_cut: float
    node_balance: float
    edge_balance: float

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return len(self.nodes)


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        index: its number.
        nodes: table with columns node, id, type, halo.
        edges: table with columns head, relation, tail, edge.
        n_own: nodes that are not halo; they come first.
    """

    index: int
    nodes: pa.Table
    edges: pa.Table
    n_own: int

    @property
    def rows(self) -> _Ints:
        """Row in the KG of each node, (n,)."""
        return np.asarray(self.nodes["node"])

    @property
    def triples(self) -> _Ints:
        """Edges as (E, 3): head row, relation, tail row."""
        return np.stack([np.asarray(self.edges[name]) for name in ("head", "relation", "tail")], axis=1)

    def local_triples(self) -> _Ints:
        """Edges as (E, 3) with heads and tails numbered by their position in `nodes`."""
        order = np.argsort(self.rows)
        triples = self.triples
        for column in (0, 2):
            triples[:, column] = order[np.searchsorted(self.rows, triples[:, column], sorter=order)]
        return triples


def assign_parts(triples: _Ints, n_nodes: int, config: PartitionConfig) -> _Ints:
    """Part of each node, (N,), every part non-empty.

    Raises:
        ConfigError: more parts than nodes.
    """
    if config.n_parts > max(n_nodes, 1):
        raise ConfigError(f"n_parts: expected at most one part a node ({n_nodes}), got {config.n_parts}")
    if config.method == "random":
        return np.random.default_rng(config.seed).permutation(n_nodes).astype(np.int64) % config.n_parts
    from kogner_ray.kg.metis import metis_parts

    ends = (triples[:, 0], triples[:, 2])
    return metis_parts(ends, n_nodes=n_nodes, n_parts=config.n_parts, balance_edges=config.balance_edges)


def write_partitions(kg: KnowledgeGraph, folder: str | Path, config: PartitionConfig | None = None) -> PartitionMeta:
    """Cut `kg` and write its parts; the folder appears whole or not at all.

    Raises:
        ConfigError: more parts than nodes.
        CheckpointError: the folder cannot be written, or holds something else.
    """
    config = config or PartitionConfig()
    triples, relations, edge_rows = _edges_of(kg, config)
    assignment = assign_parts(triples, kg.n_nodes, config)
    owner = assignment[triples[:, 2]]
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=config.n_parts)
    halos: list[int] = []
    with whole_folder(folder, marker="meta.json") as partial:
        for index, chosen in enumerate(np.split(order, np.cumsum(counts)[:-1])):
            part = _make_part(kg, index, assignment, triples[chosen], edge_rows[chosen])
            target = part_folder(partial, index)
            target.mkdir()
            pq.write_table(part.nodes, target / "nodes.parquet", compression="zstd")
            pq.write_table(part.edges, target / "edges.parquet", compression="zstd")
            halos.append(part.nodes.num_rows - part.n_own)
        nodes = np.bincount(assignment, minlength=config.n_parts)
        meta = PartitionMeta(
            n_nodes=kg.n_nodes,
            n_edges=len(triples),
            types=kg.types,
            relations=relations,
            method=config.method,
            nodes=nodes.tolist(),
            halo=halos,
            edges=counts.tolist(),
            edge_cut=float(np.mean(assignment[triples[:, 0]] != owner)) if len(triples) else 0.0,
            node_balance=_balance(nodes),
            edge_balance=_balance(counts),
        )
        (partial / "meta.json").write_text(json.dumps(asdict(meta), indent=2), encoding="utf-8")
    return meta


def read_meta(folder: str | Path) -> PartitionMeta:
    """Read `meta.json` of a folder of parts.

    Raises:
        DataError: it is missing or not one that `write_partitions` wrote.
    """
    path = Path(folder) / "meta.json"
    try:
        return PartitionMeta(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"not the meta.json of a folder of parts: {error}", path=path) from error


def read_part(folder: str | Path, index: int) -> Part:
    """Read one part.

    Raises:
        DataError: a file is missing or damaged.
    """
    source = part_folder(Path(folder), index)
    try:
        nodes, edges = (pq.read_table(source / f"{name}.parquet") for name in ("nodes", "edges"))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"not a complete part: {error}", path=source) from error
    return Part(index, nodes, edges, n_own=nodes.num_rows - int(np.asarray(nodes["halo"]).sum()))


def part_folder(folder: Path, index: int) -> Path:
    """Where part `index` lives in `folder`."""
    return folder / f"part-{index:05d}"


def _edges_of(kg: KnowledgeGraph, config: PartitionConfig) -> tuple[_Ints, list[str], _Ints]:
    rows = np.arange(kg.n_edges, dtype=np.int64)
    if not config.add_reverse:
        return kg.triples, kg.relations, rows
    return with_reverse(kg.triples, len(kg.relations)), reversed_names(kg.relations), np.tile(rows, 2)


def _make_part(kg: KnowledgeGraph, index: int, assignment: _Ints, triples: _Ints, edge_rows: _Ints) -> Part:
    own = np.flatnonzero(assignment == index)
    heads = np.unique(triples[:, 0])
    halo = heads[assignment[heads] != index]
    rows = np.concatenate([own, halo])
    nodes = kg.nodes.select(["id", "type"]).take(pa.array(rows))
    nodes = nodes.add_column(0, "node", pa.array(rows)).append_column(
        "halo", pa.array(np.arange(len(rows)) >= len(own))
    )
    columns = {name: pa.array(triples[:, column]) for column, name in enumerate(("head", "relation", "tail"))}
    return Part(index, nodes, pa.table(columns | {"edge": pa.array(edge_rows)}), n_own=len(own))


def _balance(counts: _Ints) -> float:
    return float(counts.max() / counts.mean()) if counts.sum() else 1.0
