"""The KGs whose names the cells use: whole, without names that only a test text has, or with shuffled types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from corpora import read, sentences, shared
from graph import slice_graph, stretches

from kogner_ray.kg.embeddings import EntityTable, read_entity_table, write_entity_table
from kogner_ray.silver.names import name_key
from kogner_ray.train.graph import GraphConfig
from kogner_ray.train.teacher import TeacherConfig, train_teacher
from kogner_ray.train.text import TextConfig
from kogner_ray.train.transr import TransRConfig

_SEED = 0
_COLUMNS = ["name", "type", "synonyms"]


def nodes_for(variant: str, corpus: str, cap: int, folder: Path) -> Path:
    """nodes.parquet of the KG whose names are looked for.

    Args:
        variant: `biokg`, another KG of the shared data, `shuffled` (each name keeps its spelling and gets the type of
            another) or `blind` (without names that the test text has and the raw text lacks).
        corpus: whose test text `blind` is about.
        cap: of its raw text.
        folder: for what is made.
    """
    source = shared() / "data/kg" / (variant if variant not in ("shuffled", "blind") else "biokg") / "nodes.parquet"
    if variant not in ("shuffled", "blind"):
        return source
    target = folder / f"{variant}-{corpus if variant == 'blind' else 'all'}.parquet"
    if not target.is_file():
        nodes = pq.read_table(source, columns=_COLUMNS)
        made = _shuffled(nodes) if variant == "shuffled" else _blind(nodes, corpus, cap)
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        pq.write_table(made, partial)
        partial.replace(target)
    return target


def entity_table(corpora: list[str], cap: int, folder: Path, *, shuffled: bool) -> Path:
    """Folder of H of the part of biokg that the raw texts talk of; its rows permuted when `shuffled`."""
    whole, other = folder / "entities", folder / "entities-shuffled"
    if not (whole / "provenance.json").is_file():
        documents = (document for corpus in corpora for document in sentences(corpus, cap))
        part = slice_graph(shared() / "data/kg/biokg", documents, folder / "kg")
        train_teacher(
            TeacherConfig(
                kg=part,
                output=folder,
                text=TextConfig(max_tokens=64),
                graph=GraphConfig(epochs=1, batch_size=512, lr=1e-3, feature_dropout=0.0),
                transr=TransRConfig(epochs=2, batch_size=4096, margin=1.0, projection_lr=0.01),
                seed=_SEED,
            )
        )
    if not (other / "provenance.json").is_file():
        table = read_entity_table(whole)
        order = torch.randperm(table.entities.num_rows, generator=torch.Generator().manual_seed(_SEED))
        matrices = {name: matrix[order] for name, matrix in table.matrices.items()}
        write_entity_table(EntityTable(table.entities, matrices, {**table.provenance, "rows": "shuffled"}), other)
    return other if shuffled else whole


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
