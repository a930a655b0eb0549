"""The three parts of H, each made from a KG and its settings, with what was measured of it.

Everything a part writes is named after all that it depends on: the same settings go on where they stopped, and others
start anew beside them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kogner_ray.data.files import file_sha256
from kogner_ray.kg.folder import whole_folder
from kogner_ray.kg.matrices import StandardisedRows, new_matrix, open_matrix, row_chunks
from kogner_ray.kg.partition import PartitionConfig, write_partitions
from kogner_ray.kg.store import typed_graph
from kogner_ray.kg.tables import KnowledgeGraph
from kogner_ray.teacher.classification import baseline_scores, classification_scores, relation_histogram
from kogner_ray.train.figures import draw_loss
from kogner_ray.train.graph import GraphConfig, GraphTask, classify_rows, embed_graph, graph_loop
from kogner_ray.train.session import run_training
from kogner_ray.train.text import TextConfig, encode_entities
from kogner_ray.train.transr import TransRConfig, TransRTask
from kogner_ray.train.transr_loop import trained_model, transr_loop

_Z, _MADE = "z.npy", "made.json"
"""A finished modality: its matrix, and what was counted of it."""


@dataclass(frozen=True)
class Modality:
    """One part of H.

    Attributes:
        matrix: (N, d), as it was trained; float32, or float16 and memory-mapped.
        metrics: by name; baselines are nested.
        path: its `.npy` file, where it has one.
    """

    matrix: torch.Tensor
    metrics: dict[str, Any]
    path: Path | None = None


@dataclass(frozen=True)
class RunPlace:
    """Where a run reads and writes, and how it is spread.

    Attributes:
        kg_folder: of nodes.parquet and edges.parquet.
        kg_hashes: sha256 of each of the two.
        output: folder of the run.
        n_parts: parts that the KG is cut into; 0 leaves it whole.
        workers: Ray Train workers; 0 trains in this process.
        seed: of everything random.
    """

    kg_folder: Path
    kg_hashes: dict[str, str]
    output: Path
    n_parts: int
    workers: int
    seed: int

    def named(self, prefix: str, *settings: object) -> Path:
        """`output/prefix-<digest of the KG, the seed and settings>`."""
        text = json.dumps([self.kg_hashes, self.seed, *settings], sort_keys=True, default=str)
        return self.output / f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def job(self, kg: KnowledgeGraph, config: GraphConfig) -> dict[str, Any]:
        """What a training loop is told; the KG is cut here if it is to be and is not yet."""
        parts: Path | None = None
        if self.n_parts:
            parts = self.named("parts", self.n_parts)
            if not (parts / "meta.json").is_file():
                write_partitions(kg, parts, PartitionConfig(n_parts=self.n_parts, add_reverse=True, seed=self.seed))
        folders = {"kg": str(self.kg_folder.absolute()), "parts": None if parts is None else str(parts.absolute())}
        return {"config": config.model_dump(), "seed": self.seed, **folders}


def make_text(kg: KnowledgeGraph, config: TextConfig, place: RunPlace) -> Modality:
    """Z, by the text encoder."""
    folder = place.named("text", config.encoder, config.max_tokens, config.precision)
    if not (folder / _MADE).is_file():
        store = config.store or place.output / "texts"
        with whole_folder(folder, marker=_MADE) as partial:
            counts = encode_entities(kg.nodes, config, partial / _Z, store=store, local=place.workers == 0)
            (partial / _MADE).write_text(json.dumps(counts), encoding="utf-8")
    counts = json.loads((folder / _MADE).read_text(encoding="utf-8"))
    return Modality(open_matrix(folder / _Z), counts, folder / _Z)


def make_graph(kg: KnowledgeGraph, config: GraphConfig, place: RunPlace, *, text: Modality | None) -> Modality:
    """Z', by the Graph Transformer on Z (on relation counts where there is no Z).

    Raises:
        DataError: the target has fewer than two classes, or is no column.
    """
    task = GraphTask.of(kg, config, seed=place.seed)
    path = _relation_features(kg, place) if text is None or text.path is None else text.path
    features = StandardisedRows.of(open_matrix(path))
    job = place.job(kg, config) | {"features": str(path.absolute()), "moments": features.moments}
    folder = place.named("graph", config, file_sha256(path), place.n_parts, place.workers)
    snapshot = run_training(graph_loop, job, folder=folder, workers=place.workers)
    draw_loss(snapshot.history, folder / "loss.png")
    model = task.model(config, n_features=features.width, seed=place.seed)
    snapshot.load_model(model)
    z_path = folder / f"z-{snapshot.digest()[:10]}.npy"  # of these weights: a training that went on makes another one
    z = open_matrix(z_path) if z_path.is_file() else embed_graph(model, typed_graph(kg).graph, features, config, z_path)

    test = task.split.test
    scores = classification_scores(task.labels.values[test], classify_rows(model, z, test))
    sizes = {"classes": len(task.labels.classes), "test_nodes": len(test), "nodes_left_out": task.labels.n_left_out}
    metrics: dict[str, Any] = {"loss": snapshot.history[-1]["loss"], **scores, **sizes}
    if config.baselines:
        probes: dict[str, Callable[[Any], Any]] = {"relations_only": relation_histogram(kg).__getitem__}
        if text is not None:
            probes["text_only"] = lambda rows: features.rows(torch.from_numpy(rows)).numpy()
        metrics["baselines"] = baseline_scores(probes, task.labels, task.split)
    return Modality(z, metrics, z_path)


def _relation_features(kg: KnowledgeGraph, place: RunPlace) -> Path:
    """A file of the relation counts of all nodes."""
    path = place.named("relations").with_suffix(".npy")
    counts = relation_histogram(kg)
    with new_matrix(path, counts.shape) as matrix:
        for rows in row_chunks(kg.n_nodes):
            matrix[rows] = torch.from_numpy(counts[rows].toarray())
    return path


def make_logic(kg: KnowledgeGraph, config: TransRConfig, place: RunPlace) -> Modality:
    """Z'', by TransR; a node without edges gets the mean of the others, for its random start is no target."""
    task = TransRTask.of(kg, config, seed=place.seed)
    cut = place.named("buckets", config.held_out, config.bucket_nodes, place.workers)
    buckets = task.cut(cut, config, workers=place.workers, seed=place.seed)
    told = {"config": config.model_dump(), "seed": place.seed, "head_probabilities": task.head_probabilities()}
    folder = place.named("transr", config, place.workers)
    job = told | {"buckets": str(cut.absolute())}
    snapshot = run_training(transr_loop, job, folder=folder, workers=place.workers)
    draw_loss(snapshot.history, folder / "loss.png")
    model = trained_model(buckets, snapshot, config, folder=folder, seed=place.seed)
    ranking = task.evaluate(model, n=config.ranked, seed=place.seed)
    sizes = {"test_triples": len(task.test), "ranked_triples": len(ranking.heads), "candidates": ranking.n_candidates}
    sizes |= {"parts": buckets.meta.n_parts, "unlinked": kg.n_nodes - len(buckets.nodes)}
    z = model.entities.weight.detach()
    return Modality(z, {"loss": snapshot.history[-1]["loss"], **ranking.metrics(), **sizes})
