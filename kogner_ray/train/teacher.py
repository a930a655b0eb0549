"""The teacher, whole: KG folder -> Z, Z', Z'' -> entity table H.

    read_kg -> text     encode_entities (this process or Ray Data)           -> Z
            -> graph    graph_loop on Ray Train, then whole-graph inference  -> Z'
            -> logic    buckets, transr_loop on Ray Train                    -> Z''
            -> write_entity_table, which standardises each on the way

What the KG cannot teach (no edges, one type only) is left out with a warning.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.data.files import file_sha256
from kogner_ray.errors import DataError
from kogner_ray.kg.embeddings import EntityTable, write_entity_table
from kogner_ray.kg.names import LINKING_COLUMNS
from kogner_ray.kg.tables import KnowledgeGraph, read_kg
from kogner_ray.teacher.classification import node_labels
from kogner_ray.train.graph import GraphConfig
from kogner_ray.train.modalities import Modality, RunPlace, make_graph, make_logic, make_text
from kogner_ray.train.run_folder import write_text
from kogner_ray.train.text import TextConfig
from kogner_ray.train.transr import TransRConfig
from kogner_ray.versions import code_provenance

_LOG = logging.getLogger(__name__)


class TeacherConfig(Config):
    """What to teach, and where.

    Attributes:
        kg: folder with nodes.parquet and edges.parquet.
        output: folder of the run; the entity table is `output/entities`. On a cluster it is on shared storage.
        text: how Z is made.
        graph: how Z' is made.
        transr: how Z'' is made.
        n_parts: METIS parts that the KG is cut into for Z' and that the workers own; 0 deals it out evenly, whole.
        num_workers: Ray Train workers; 0 trains in this process.
        seed: of everything random.
    """

    kg: Path
    output: Path
    text: TextConfig = TextConfig()
    graph: GraphConfig = GraphConfig()
    transr: TransRConfig = TransRConfig()
    n_parts: int = Field(default=0, ge=0)
    num_workers: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class TeacherReport:
    """What a run of the teacher gave.

    Attributes:
        table: folder of the entity table.
        metrics: modality -> its metrics.
        skipped: modality -> why it is not in the table.
        seconds: modality -> wall time of this call.
    """

    table: Path
    metrics: dict[str, dict[str, Any]]
    skipped: dict[str, str]
    seconds: dict[str, float]


def train_teacher(config: TeacherConfig) -> TeacherReport:
    """Make the entity table of a KG.

    Raises:
        DataError: the KG is unreadable, or leaves no modality to teach.
        CheckpointError: the output cannot be written.
    """
    kg = read_kg(config.kg)
    hashes = {name: file_sha256(config.kg / name) for name in ("nodes.parquet", "edges.parquet")}
    place = RunPlace(config.kg, hashes, config.output, config.n_parts, config.num_workers, config.seed)
    write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), config.output / "config.yaml")
    skipped = reasons_to_skip(kg, config)
    made: dict[str, Modality] = {}
    seconds: dict[str, float] = {}
    steps: dict[str, Callable[[], Modality]] = {
        "text": lambda: make_text(kg, config.text, place),
        "graph": lambda: make_graph(kg, config.graph, place, text=made.get("text")),
        "logic": lambda: make_logic(kg, config.transr, place),
    }
    for name, step in steps.items():
        if name in skipped:
            _LOG.warning("%s is left out of the entity table: %s", name, skipped[name])
            continue
        started = time.perf_counter()
        made[name] = step()
        seconds[name] = round(time.perf_counter() - started, 2)
        _LOG.info("%s: %s", name, made[name].metrics)
    if not made:
        raise DataError(f"no modality is left to teach: {skipped}", path=config.kg)

    metrics = {name: modality.metrics for name, modality in made.items()}
    settings = {"kg_sha256": hashes, "config": config.model_dump(mode="json"), "seed": config.seed}
    provenance = settings | code_provenance() | {"metrics": metrics, "skipped": skipped, "seconds": seconds}
    matrices = {name: modality.matrix for name, modality in made.items()}
    kept = [name for name in LINKING_COLUMNS if name in kg.nodes.column_names]
    table = EntityTable(kg.nodes.select(kept), matrices, provenance)
    folder = write_entity_table(table, config.output / "entities", standardise=True)
    return TeacherReport(folder, metrics, skipped, seconds)


def reasons_to_skip(kg: KnowledgeGraph, config: TeacherConfig) -> dict[str, str]:
    """Modality -> why it shall not or cannot be made of this KG."""
    reasons = {}
    for name, part in (("text", config.text), ("graph", config.graph), ("logic", config.transr)):
        if not part.enabled:
            reasons[name] = "switched off"
        elif name != "text" and not kg.n_edges:
            reasons[name] = "the knowledge graph has no edges"
    if "graph" not in reasons:
        try:
            node_labels(kg, config.graph.target)
        except DataError as error:
            reasons["graph"] = str(error)
    return reasons
