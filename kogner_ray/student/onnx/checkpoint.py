"""Reading a folder of ONNX graphs; `kogner_ray.student.onnx` says what it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.kg.embeddings import EntityTable
from kogner_ray.kg.ranking.links import Links
from kogner_ray.student.checkpoint import check_parts, read_companions, reading
from kogner_ray.student.dense import Precision
from kogner_ray.student.kg_head import KGHead
from kogner_ray.student.model import StudentConfig
from kogner_ray.student.onnx.student import OnnxStudent

CONFIG = "onnx.json"
FORMAT = 1


@dataclass(frozen=True)
class OnnxCheckpoint:
    """Graphs with what they need to be used; fields as `Checkpoint` has them.

    Attributes:
        student: the graphs.
        precision: of the text side.
        tokenizer: of the text encoder.
        labels_tokenizer: of the label encoder.
        types: type name -> label text.
        kg_head: g, or None without a KG.
        modalities: of H, in the order in which g's columns stand.
        entities: the entity table to link to, or None.
        provenance: of the checkpoint that was exported.
        links: what finds and ranks the entities, or None.
    """

    student: OnnxStudent
    precision: Precision
    tokenizer: Any
    labels_tokenizer: Any
    types: Mapping[str, str]
    kg_head: KGHead | None
    modalities: tuple[str, ...]
    entities: EntityTable | None
    provenance: Mapping[str, Any]
    links: Links | None

    def check_precision(self, wanted: Precision | None) -> None:
        """Raise `ConfigError` where `wanted` is another precision than that of the graphs."""
        if wanted not in (None, self.precision):
            raise ConfigError(f"precision: the ONNX graphs are {self.precision}, got {wanted!r}; export them anew")


def read_onnx(folder: str | Path, *, device: str | torch.device | None = None) -> OnnxCheckpoint:
    """Read a folder written by `write_onnx`; needs onnxruntime, not onnx.

    Args:
        folder: what to read.
        device: `cpu`, which None is too.

    Raises:
        CheckpointError: the folder is incomplete, or of another format version.
        ConfigError: another device, or onnxruntime is not installed.
    """
    if device is not None and torch.device(device).type != "cpu":
        raise ConfigError(f"device: ONNX graphs run on the CPU, got {device}")
    source = Path(folder)
    with reading(source, "ONNX folder"):
        return _read(source)


def _read(source: Path) -> OnnxCheckpoint:
    description = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    if description["format"] != FORMAT:
        raise CheckpointError(f"{source}: ONNX folder format {description['format']}, this version reads {FORMAT}")
    check_parts(source, [*description["graphs"], *description["parts"]], "ONNX folder")
    companions = read_companions(source, description, width=description["width"])
    config = StudentConfig.model_validate(description["student"])
    student = OnnxStudent(source, config, companions.labels_tokenizer)
    return OnnxCheckpoint(student, description["precision"], *companions)
