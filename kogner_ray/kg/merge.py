"""Several knowledge graphs as one: nodes of one concept share a `cluster`, or are one node.

output/nodes.parquet edges.parquet    canonical tables; nodes with `cluster`, `kg` (the graphs they are from), `degree`
output/report.json                    settings, clusters by size, what was joined by what, what was refused and why

A node whose id is in several graphs is one node; where its types there cannot denote the same things, the later one is
called `GRAPH/ID`. With `collapse` each cluster becomes its first node: the order of the graphs says which one that is.
It takes up the names and ids of the others, and their edges; edges that are then twice there go, and those that would
lead from the node to itself.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.errors import ConfigError
from kogner_ray.kg.build import REPORT, with_degrees
from kogner_ray.kg.concepts import Clusters, ConceptConfig, find_clusters
from kogner_ray.kg.folder import whole_folder
from kogner_ray.kg.formats import read_any
from kogner_ray.kg.joining import Joined, fold, join_graphs
from kogner_ray.kg.tables import KnowledgeGraph

_Rows = npt.NDArray[np.int64]


class MergeConfig(Config):
    """What to merge.

    Attributes:
        sources: the graphs, of any format that `kg build` reads; the first one names concepts.
        output: folder to write; an older one is replaced.
        collapse: make one node of each cluster.
        concepts: what says that two nodes are one concept.
    """

    sources: tuple[Path, ...] = Field(min_length=1)
    output: Path
    collapse: bool = False
    concepts: ConceptConfig = ConceptConfig()


@dataclass(frozen=True)
class MergeReport:
    """What became of the graphs.

    Attributes:
        output: the folder.
        nodes: nodes written.
        edges: edges written.
        sources: nodes of each graph.
        same_ids: nodes whose id an earlier graph had.
        renamed: of those, the ones of another kind that were given another id.
        sizes: cluster size -> clusters.
        joined: evidence -> times that it joined two clusters.
        refused: reason -> times that evidence was refused.
        examples: a few of each.
        repeated_edges: edges left out because they were there before.
        inner_edges: edges left out because both ends became one node.
        seconds: wall time.
    """

    output: Path
    nodes: int
    edges: int
    sources: dict[str, int]
    same_ids: int
    renamed: int
    sizes: dict[str, int]
    joined: dict[str, int]
    refused: dict[str, int]
    examples: dict[str, list[str]]
    repeated_edges: int
    inner_edges: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"output": str(self.output)}


def merge_kgs(config: MergeConfig) -> MergeReport:
    """Read, join, cluster and write; the output folder appears whole or not at all.

    Raises:
        DataError: a graph cannot be read, or columns of the same name hold different things.
        ConfigError: the output is one of the graphs.
        CheckpointError: the output cannot be written, or is a folder of something else.
    """
    started = time.monotonic()
    output = config.output.resolve()
    if any(output == path.resolve() or output in path.resolve().parents for path in config.sources):
        raise ConfigError(f"output: {config.output} holds a graph that is to be merged, which it would replace")
    names = _graph_names(config.sources)
    graphs = [read_any(path)[0] for path in config.sources]
    joined = join_graphs(graphs, names)
    clusters = find_clusters(joined.nodes, config.concepts, same=_same(joined, config.concepts), source=joined.source)
    kg, repeated, inner = _merged(joined, clusters, collapse=config.collapse)
    with whole_folder(config.output, marker=REPORT) as folder:
        kg.write(folder)
        report = MergeReport(
            output=config.output,
            nodes=kg.n_nodes,
            edges=kg.n_edges,
            sources={name: graph.n_nodes for name, graph in zip(names, graphs, strict=True)},
            same_ids=joined.same_ids,
            renamed=joined.renamed,
            sizes=_sizes(clusters.first),
            joined=dict(clusters.joined),
            refused=dict(clusters.refused),
            examples=dict(clusters.examples),
            repeated_edges=repeated,
            inner_edges=inner,
            seconds=round(time.monotonic() - started, 3),
        )
        content = {"config": config.model_dump(mode="json")} | report.as_dict()
        (folder / REPORT).write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    return report


def _same(joined: Joined, config: ConceptConfig) -> Iterator[tuple[int, int]]:
    """Rows that an edge says are one concept."""
    for relation, (head, tail) in zip(joined.edges["relation"].to_pylist(), joined.ends.tolist(), strict=True):
        if relation in config.relations:
            yield head, tail


def _merged(joined: Joined, clusters: Clusters, *, collapse: bool) -> tuple[KnowledgeGraph, int, int]:
    """The graph, how many edges were there twice, and how many had become loops."""
    ids = joined.nodes["id"].combine_chunks()
    names = ids.take(pa.array(clusters.first))
    nodes = joined.nodes.drop_columns("cluster") if "cluster" in joined.nodes.column_names else joined.nodes
    nodes, ends = nodes.append_column("cluster", names), joined.ends
    inner = np.zeros(len(ends), dtype=bool)
    if collapse:
        nodes, place = fold(nodes, clusters.first)
        ends = place[ends]
        inner = (ends[:, 0] == ends[:, 1]) & (joined.ends[:, 0] != joined.ends[:, 1])
    own = nodes["id"].combine_chunks()
    edges = joined.edges
    for column, end in (("head", 0), ("tail", 1)):
        edges = edges.set_column(edges.column_names.index(column), column, own.take(pa.array(ends[:, end])))
    kinds = np.asarray(edges["relation"].combine_chunks().dictionary_encode().indices, dtype=np.int64)
    repeated = _repeated(ends, kinds) & ~inner
    kg = with_degrees(KnowledgeGraph(nodes, edges.filter(pa.array(~(repeated | inner)))))
    return kg, int(repeated.sum()), int(inner.sum())


def _repeated(ends: _Rows, kinds: _Rows) -> npt.NDArray[np.bool_]:
    pairs = np.unique(ends[:, 0] * (int(ends.max(initial=0)) + 1) + ends[:, 1], return_inverse=True)[1]
    codes = pairs * (int(kinds.max(initial=0)) + 1) + kinds
    repeated = np.ones(len(codes), dtype=bool)
    repeated[np.unique(codes, return_index=True)[1]] = False
    return repeated


def _sizes(first: _Rows) -> dict[str, int]:
    return {str(size): count for size, count in sorted(Counter(Counter(first.tolist()).values()).items())}


def _graph_names(sources: Sequence[Path]) -> list[str]:
    names = [path.resolve().name.split(".")[0] for path in sources]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name}-{number}" for number, name in enumerate(names, 1)]
