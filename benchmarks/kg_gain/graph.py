"""The part of a KG that four corpora talk of: entities whose names their raw training texts hold, and their neighbours.

The teacher of every cell reads this part; silver annotation reads the names of the whole KG.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kogner_ray.data.spans import Document
from kogner_ray.data.words import split_words
from kogner_ray.kg.tables import KnowledgeGraph, read_kg
from kogner_ray.silver.names import name_key

_LONGEST = 10
_SHORTEST_NAME = 4


def slice_graph(source: Path, documents: Iterable[Document], target: Path, *, n_neighbours: int = 20_000) -> Path:
    """Write to `target` the nodes of `source` that `documents` name and the neighbours that most of these share."""
    kg = read_kg(source)
    said = {key for document in documents for key in stretches(document.text)}
    columns = zip(kg.nodes["name"].to_pylist(), kg.nodes["synonyms"].to_pylist(), strict=True)
    named = np.array([_is_named(name, synonyms or (), said) for name, synonyms in columns])
    heads, _, tails = kg.triples.T
    shared = np.bincount(tails[named[heads]], minlength=kg.n_nodes)
    shared += np.bincount(heads[named[tails]], minlength=kg.n_nodes)
    shared[named] = 0
    kept = named.copy()
    kept[np.argsort(-shared, kind="stable")[:n_neighbours]] = True
    kept &= named | (shared > 0)
    edges = kg.edges.filter(pa.array(kept[heads] & kept[tails]))
    return KnowledgeGraph(kg.nodes.filter(pa.array(kept)), edges).write(target)


def thinned(kg: KnowledgeGraph, *, nodes: float, edges: float, seed: int) -> KnowledgeGraph:
    """`kg` with a share of its concepts and of the edges between these; a smaller share is part of a larger one."""
    kept = kept_nodes(kg.nodes, nodes)
    heads, _, tails = kg.triples.T
    drawn = np.random.default_rng(seed).random(kg.n_edges) < edges
    return KnowledgeGraph(kg.nodes.filter(pa.array(kept)), kg.edges.filter(pa.array(kept[heads] & kept[tails] & drawn)))


def kept_nodes(nodes: pa.Table, share: float) -> npt.NDArray[np.bool_]:
    """Which nodes are left when a share of the concepts is: all of one concept, whatever part of the KG they are in."""
    clusters = nodes["cluster"].to_pylist() if "cluster" in nodes.column_names else [None] * nodes.num_rows
    keys = (cluster or id_ for cluster, id_ in zip(clusters, nodes["id"].to_pylist(), strict=True))
    return np.array([crc32(key.encode()) < share * 2**32 for key in keys])


def _is_named(name: str | None, synonyms: Iterable[str], said: set[str]) -> bool:
    keys = (name_key(text or "") for text in (name, *synonyms))
    return any(len(key) >= _SHORTEST_NAME and key in said for key in keys)


def stretches(text: str) -> Iterable[str]:
    """Keys of all stretches of up to ten words of `text`."""
    words = split_words(text)
    for first in range(len(words)):
        for last in range(first, min(first + _LONGEST, len(words))):
            yield name_key(text[words.starts[first] : words.ends[last]])
