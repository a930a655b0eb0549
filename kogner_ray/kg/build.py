"""KG files of any format to a canonical folder: tables, optionally parts, and a report of what was kept and why not.

output/nodes.parquet edges.parquet    canonical tables; nodes get a column `degree`
output/parts/                         METIS or random parts (kogner_ray.kg.partition), when asked for
output/report.json                    settings, counts, and every irregular row's kind with file and line
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.embedded import kg_files
from kogner_ray.errors import ConfigError
from kogner_ray.kg.folder import whole_folder
from kogner_ray.kg.formats import Format, read_any
from kogner_ray.kg.formats.ontology import OntologyConfig
from kogner_ray.kg.formats.report import ReadReport
from kogner_ray.kg.partition import PartitionConfig, PartitionMeta, write_partitions
from kogner_ray.kg.tables import KnowledgeGraph

REPORT = "report.json"
"""The report's file name, and the mark by which an older output is known."""


class BuildKgConfig(Config):
    """What to build.

    Attributes:
        source: edge file or folder of the graph; by default the embedded one.
        output: folder to write; an older one is replaced.
        nodes: node file, where it does not lie beside the edges.
        format: format of `source`; by default it follows from the file names.
        ontology: how the terms of an OBO or RDF file become nodes.
        strict: refuse the first irregular row instead of counting it.
        partition: how to cut the graph into parts; none without it.
    """

    source: Path = Field(default_factory=lambda: kg_files()["edges"].parent)
    output: Path
    nodes: Path | None = None
    format: Format | None = None
    ontology: OntologyConfig = OntologyConfig()
    strict: bool = False
    partition: PartitionConfig | None = None


@dataclass(frozen=True)
class BuildReport:
    """What was built.

    Attributes:
        output: the folder.
        read: what the reader kept, repaired and left out.
        node_types: nodes of each type.
        relations: edges of each relation.
        isolated_nodes: nodes without an edge.
        partition: the parts, if any.
        seconds: wall time.
    """

    output: Path
    read: ReadReport
    node_types: dict[str, int]
    relations: dict[str, int]
    isolated_nodes: int
    partition: PartitionMeta | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"output": str(self.output)}


def build_kg(config: BuildKgConfig) -> BuildReport:
    """Read, check, cut and write a knowledge graph; the output folder appears whole or not at all.

    Raises:
        DataError: the source is missing or malformed (with file and line); in strict mode, an irregular row.
        ConfigError: the output would replace the source, or there are more parts than nodes.
        CheckpointError: the output cannot be written, or is a folder of something else.
    """
    started = time.monotonic()
    _refuse_overwriting(config)
    kg, read = read_any(
        config.source, nodes=config.nodes, format=config.format, ontology=config.ontology, strict=config.strict
    )
    kg = with_degrees(kg)
    with whole_folder(config.output, marker=REPORT) as folder:
        kg.write(folder)
        parts = None if config.partition is None else write_partitions(kg, folder / "parts", config.partition)
        report = BuildReport(
            output=config.output,
            read=read,
            node_types=_counts(kg.types, kg.node_types),
            relations=_counts(kg.relations, kg.triples[:, 1]),
            isolated_nodes=pc.sum(pc.equal(kg.nodes["degree"], 0)).as_py() or 0,
            partition=parts,
            seconds=round(time.monotonic() - started, 3),
        )
        content = {"config": config.model_dump(mode="json")} | report.as_dict()
        (folder / REPORT).write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    return report


def _refuse_overwriting(config: BuildKgConfig) -> None:
    output = config.output.resolve()
    for path in (config.source, config.nodes):
        if path is not None and (output == path.resolve() or output in path.resolve().parents):
            raise ConfigError(f"output: {config.output} holds the source {path}, which it would replace")


def with_degrees(kg: KnowledgeGraph) -> KnowledgeGraph:
    """`kg` with a node column `degree`: the edges of each node, loops counted twice."""
    degrees = np.bincount(kg.triples[:, [0, 2]].ravel(), minlength=kg.n_nodes)
    nodes = kg.nodes.drop_columns("degree") if "degree" in kg.nodes.column_names else kg.nodes
    return KnowledgeGraph(nodes.append_column("degree", pa.array(degrees, pa.int64())), kg.edges)


def _counts(names: list[str], codes: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, int]:
    return dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True))
