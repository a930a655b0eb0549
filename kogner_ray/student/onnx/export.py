"""Writing a checkpoint as ONNX graphs, each checked against the module that it came from."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import torch
from transformers import PretrainedConfig

from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.kg.folder import whole_folder
from kogner_ray.student.checkpoint import Checkpoint, write_companions, write_json
from kogner_ray.student.model import Student
from kogner_ray.student.onnx.checkpoint import CONFIG, FORMAT
from kogner_ray.student.onnx.graphs import FREE, LEGEND, Graph, graphs
from kogner_ray.student.onnx.runtime import Session, needed

OnnxPrecision = Literal["fp32", "int8"]
"""int8 is dynamic: weights of the text side a column, activations a tensor; the other graphs stay fp32."""

_TRACED = {"B": 3, "T": 9, "W": 5, "C": 4, "S": 6}
_SHORT = {"B": 1, "T": 4, "W": 1, "C": 1, "S": 1}
_MIDDLE = {"B": 4, "T": 31, "W": 57, "C": 7, "S": 11}
_LONG = {"B": 2, "W": 3, "C": 2, "S": 2}
_TOLERANCE = 1e-4


def write_onnx(checkpoint: Checkpoint, folder: str | Path, *, precision: OnnxPrecision = "fp32") -> Path:
    """Write `checkpoint` as `read_onnx`, and thereby `Tagger.load`, reads it.

    Raises:
        ConfigError: no such precision, or onnx, onnxscript or onnxruntime is not installed.
        CheckpointError: an encoder that cannot be exported; the folder cannot be written, or holds something else.
    """
    checked_precision(precision)
    for package in ("onnx", "onnxscript", "onnxruntime"):
        needed(package)
    with whole_folder(folder, marker=CONFIG) as partial:
        _write(checkpoint, partial, precision)
    return Path(folder)


def checked_precision(name: str) -> OnnxPrecision:
    """`name` as a precision; `ConfigError` where it is none."""
    if name not in ("fp32", "int8"):
        raise ConfigError(f"precision: ONNX graphs can be fp32 or int8, got {name!r}")
    return cast(OnnxPrecision, name)


def _write(checkpoint: Checkpoint, folder: Path, precision: OnnxPrecision) -> None:
    student = copy.deepcopy(checkpoint.student).cpu().eval()
    parts = graphs(student)
    description = {
        "format": FORMAT,
        "precision": precision,
        "student": student.config.model_dump(),
        "width": student.width,
        "axes": LEGEND,
        "graphs": {name: graph.as_dict() for name, graph in parts.items()},
        **write_companions(checkpoint, folder),
    }
    for name, graph in parts.items():
        layer = student.token_rep_layer
        encoder = (layer.labels_encoder if name == "labels.onnx" else layer.bert_layer).model.config
        widths = {"D": student.width, "F": 4 * student.width}
        _export(graph, folder / name, encoder, widths=widths, longest=_longest(student, encoder))
    if precision == "int8":
        _quantise(folder / "text.onnx")
    write_json(description, folder / CONFIG)


def _longest(student: Student, encoder: PretrainedConfig) -> int:
    """Subtokens that windows, and label texts of that encoder, may have."""
    return min(student.config.max_tokens, getattr(encoder, "max_position_embeddings", student.config.max_tokens))


def _export(graph: Graph, path: Path, encoder: PretrainedConfig, *, widths: dict[str, int], longest: int) -> None:
    """Write a graph with that encoder in it.

    Args:
        graph: what to write.
        path: where to.
        encoder: its architecture.
        widths: of the axes that are not free.
        longest: T up to which the graph is checked.
    """
    checked = [_SHORT, _MIDDLE, _LONG | {"T": longest}]
    try:
        with torch.inference_mode():
            _trace(graph, path, graph.example(_TRACED | widths, n_pieces=encoder.vocab_size))
            inputs = [graph.example(lengths | widths, n_pieces=encoder.vocab_size) for lengths in checked]
            worst = _difference(graph, path, inputs)
    except Exception as error:  # an encoder that cannot be traced fails in as many ways as there are encoders
        # The exporter's own message is advice on how to call it; what it stumbled over is the cause.
        raise _refused(path, encoder, str(error.__cause__ or error).strip().partition("\n")[0]) from error
    if not worst <= _TOLERANCE:
        raise _refused(path, encoder, f"the graph's outputs are off by {worst:.1e}")


def _refused(path: Path, encoder: PretrainedConfig, reason: str) -> CheckpointError:
    return CheckpointError(f"{path.name}: an encoder of kind {encoder.model_type!r} cannot be exported: {reason}")


def _trace(graph: Graph, path: Path, inputs: tuple[torch.Tensor, ...]) -> None:
    with _quiet():
        program = torch.onnx.export(
            graph.module,
            inputs,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=_free_axes(graph),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with the paths of this machine
    program.save(path)


def _free_axes(graph: Graph) -> tuple[dict[int, Any], ...]:
    dims = {axis: torch.export.Dim(axis) for axis in FREE}
    return tuple({i: dims[axis] for i, axis in enumerate(axes) if axis in FREE} for axes in graph.inputs.values())


def _difference(graph: Graph, path: Path, inputs: Sequence[tuple[torch.Tensor, ...]]) -> float:
    """Largest difference between graph and module on any of `inputs`, as a share of the largest output."""
    session, worst = Session(path), 0.0
    for given in inputs:
        outputs = graph.module(*given)
        for found, wanted in zip(session(*given), outputs if isinstance(outputs, tuple) else (outputs,), strict=True):
            worst = max(worst, float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1)))
    return worst


def _quantise(path: Path) -> None:
    quantization = needed("onnxruntime.quantization")
    full = path.rename(path.with_suffix(".fp32"))
    with _quiet():
        quantization.quantize_dynamic(
            full,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,  # 7 bits: with 8, sums of two products overflow on CPUs without VNNI, unnoticed
        )
    full.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporter and quantiser warn of what is no fault of the user's."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
