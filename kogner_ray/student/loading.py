"""Checkpoints of every kind by folder or hub id, and the backend that each runs on."""

from __future__ import annotations

from pathlib import Path

import torch

from kogner_ray.student.backend import Backend
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.dense import Precision
from kogner_ray.student.fast import FastStudent
from kogner_ray.student.hub import load_checkpoint
from kogner_ray.student.onnx.checkpoint import CONFIG as ONNX_CONFIG
from kogner_ray.student.onnx.checkpoint import OnnxCheckpoint, read_onnx


def load_any(
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> Checkpoint | OnnxCheckpoint:
    """A checkpoint of ours, of GLiNER's, or ONNX graphs, on `device`; None takes the GPU where there is one.

    Raises:
        CheckpointError: see `load_checkpoint` and `read_onnx`.
        ConfigError: ONNX graphs without onnxruntime.
    """
    if revision is None and (Path(name) / ONNX_CONFIG).is_file():
        return read_onnx(name, device=device)
    checkpoint = load_checkpoint(name, revision=revision, token=token)
    wanted = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for module in (checkpoint.student, checkpoint.kg_head):
        if module is not None:
            module.to(wanted)
    return checkpoint


def backend_of(checkpoint: Checkpoint | OnnxCheckpoint, precision: Precision | None) -> Backend:
    """What tags with `checkpoint`; None is fp32, or what ONNX graphs were exported in.

    Raises:
        ConfigError: no such precision on the device where the checkpoint is.
    """
    if isinstance(checkpoint, OnnxCheckpoint):
        checkpoint.check_precision(precision)
        return checkpoint.student
    return FastStudent(checkpoint.student, checkpoint.labels_tokenizer, precision=precision or "fp32")
