"""onnxruntime: sessions over files, and the error where it is not installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from kogner_ray.errors import ConfigError


def needed(package: str) -> Any:
    """The imported package.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise ConfigError(f"ONNX needs the package {name}: pip install 'kogner-ray[onnx]'") from error


class Session:
    """A graph on the CPU: tensors in, tensors out, on as many threads as torch has.

    Attributes:
        inputs: their names, in the graph's order.
    """

    def __init__(self, path: Path) -> None:
        """Load the graph.

        Raises:
            ConfigError: onnxruntime is not installed.
        """
        runtime = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.enable_mem_pattern = False  # it would keep a plan of memory for every shape that it meets
        # Its threads would wait in a loop for the next graph, and take the time of torch's and the other graphs'.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [node.name for node in self._session.get_inputs()]

    def __call__(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """Outputs in the graph's order; `inputs` in its order, on the CPU."""
        arrays = [tensor.numpy() for tensor in inputs]
        outputs = self._session.run(None, dict(zip(self.inputs, arrays, strict=True)))
        return [torch.from_numpy(output) for output in outputs]
