"""The KGs whose names and H the cells use: whole, thinned, without names of a test text, or with shuffled types."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from corpora import read, sentences, shared
from graph import kept_nodes, slice_graph, stretches, thinned

from kogner_ray.data.words import split_words
from kogner_ray.kg.embeddings import EntityTable, read_entity_table, write_entity_table
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.kg.tables import read_kg
from kogner_ray.silver.names import NameFinder, name_key
from kogner_ray.train.graph import GraphConfig
from kogner_ray.train.teacher import TeacherConfig, train_teacher
from kogner_ray.train.text import TextConfig
from kogner_ray.train.transr import TransRConfig

_SEED = 0
_COLUMNS = ["name", "type", "synonyms"]


def nodes_for(variant: str, corpus: str, cap: int, folder: Path, *, kept: float = 1.0) -> Path:
    """nodes.parquet of the KG whose names are looked for.

    Args:
        variant: `biokg`, another KG of the shared data, `shuffled` (each name keeps its spelling and gets the type of
            another) or `blind` (without names that the test text has and the raw text lacks).
        corpus: whose test text `blind` is about.
        cap: of its raw text.
        folder: for what is made.
        kept: share of the concepts that are left.
    """
    source = shared() / "data/kg" / (variant if variant not in ("shuffled", "blind") else "biokg") / "nodes.parquet"
    if variant not in ("shuffled", "blind") and kept == 1:
        return source
    target = folder / f"{variant}-{corpus if variant == 'blind' else 'all'}{'' if kept == 1 else f'-{kept:g}'}.parquet"
    if not target.is_file():
        nodes = pq.read_table(source)
        made = nodes if kept == 1 else nodes.filter(pa.array(kept_nodes(nodes, kept)))
        if variant in ("shuffled", "blind"):
            made = _shuffled(made.select(_COLUMNS)) if variant == "shuffled" else _blind(made, corpus, cap)
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        pq.write_table(made, partial)
        partial.replace(target)
    return target


def graph_of(corpora: list[str], cap: int, folder: Path, *, nodes: float = 1.0, edges: float = 1.0) -> Path:
    """Folder of the part of biokg that the raw texts talk of, with a share of its concepts and of the edges left."""
    whole = folder / "kg"
    if not (whole / "edges.parquet").is_file():
        documents = (document for corpus in corpora for document in sentences(corpus, cap))
        slice_graph(shared() / "data/kg/biokg", documents, whole)
    if nodes == edges == 1:
        return whole
    target = folder / f"kg-{nodes:g}-{edges:g}"
    if not (target / "edges.parquet").is_file():
        thinned(read_kg(whole), nodes=nodes, edges=edges, seed=_SEED).write(target)
    return target


def entity_table(
    corpora: list[str],
    cap: int,
    folder: Path,
    *,
    shuffled: bool = False,
    nodes: float = 1.0,
    edges: float = 1.0,
    width: int | None = None,
) -> Path:
    """Folder of H of `graph_of`, its rows permuted when `shuffled`; `width`: of TransR's spaces."""
    graph = graph_of(corpora, cap, folder, nodes=nodes, edges=edges)
    usual = nodes == edges == 1 and width is None
    output = folder if usual else folder / f"teacher-{nodes:g}-{edges:g}-{width or 'usual'}"
    whole, other = output / "entities", output / "entities-shuffled"
    wide = {} if width is None else {"entity_dim": width, "relation_dim": width}
    if not (whole / "provenance.json").is_file():
        train_teacher(
            TeacherConfig(
                kg=graph,
                output=output,
                text=TextConfig(max_tokens=64),
                graph=GraphConfig(epochs=1, batch_size=512, lr=1e-3, feature_dropout=0.0),
                transr=TransRConfig(epochs=2, batch_size=4096, margin=1.0, projection_lr=0.01, **wide),
                seed=_SEED,
            )
        )
    if shuffled and not (other / "provenance.json").is_file():
        table = read_entity_table(whole)
        order = torch.randperm(table.entities.num_rows, generator=torch.Generator().manual_seed(_SEED))
        matrices = {name: matrix[order] for name, matrix in table.matrices.items()}
        write_entity_table(EntityTable(table.entities, matrices, {**table.provenance, "rows": "shuffled"}), other)
    return other if shuffled else whole


def linked_share(corpus: str, types: Collection[str], nodes: Path, linker: LinkerConfig) -> float:
    """Share of the mentions of a test set whose words are a name of an entity of a type like theirs."""
    finder = NameFinder(pq.read_table(nodes, columns=_COLUMNS), tuple(types), linker=linker)
    hits = total = 0
    for document in read(corpus, "test"):
        for entity in document.entities:
            if entity.type in finder.types:
                surface = document.surface(entity)
                words = split_words(surface)
                match = finder.match(surface, words, 0, len(words) - 1) if len(words) else None
                hits += match is not None and finder.types.index(entity.type) in match.types
                total += 1
    return hits / max(1, total)


def _shuffled(nodes: pa.Table) -> pa.Table:
    order = np.random.default_rng(_SEED).permutation(nodes.num_rows)
    return nodes.set_column(nodes.column_names.index("type"), "type", nodes["type"].take(pa.array(order)))


def _blind(nodes: pa.Table, corpus: str, cap: int) -> pa.Table:
    raw = {key for document in sentences(corpus, cap) for key in stretches(document.text)}
    only = {key for document in read(corpus, "test") for key in stretches(document.text)} - raw
    rows = nodes.select(_COLUMNS).to_pylist()
    for row in rows:
        row["synonyms"] = [name for name in row["synonyms"] or () if name_key(name or "") not in only]
        if name_key(row["name"] or "") in only:
            row["name"] = ""
    return pa.Table.from_pylist(rows, nodes.select(_COLUMNS).schema)
