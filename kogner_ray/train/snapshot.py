"""A training checkpoint: weights and optimiser state in safetensors, the history of metrics beside them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from kogner_ray.errors import CheckpointError

_TENSORS, _HISTORY = "state.safetensors", "history.json"


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        tensors: `model.*` and `optimiser.*` by name.
        history: one record of metrics for each epoch done.
    """

    tensors: Mapping[str, torch.Tensor]
    history: list[dict[str, float]]

    @classmethod
    def of(cls, model: torch.nn.Module, optimiser: torch.optim.Optimizer, history: list[dict[str, float]]) -> Snapshot:
        """The state of a run (not copied)."""
        state = optimiser.state_dict()["state"]
        fields = {f"optimiser.{index}.{name}": value for index, row in state.items() for name, value in row.items()}
        weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        return cls({name: torch.as_tensor(value) for name, value in (weights | fields).items()}, history)

    def load_model(self, model: torch.nn.Module) -> None:
        """Put the weights into `model`."""
        model.load_state_dict(
            {name[len("model.") :]: t for name, t in self.tensors.items() if name.startswith("model.")}
        )

    def digest(self) -> str:
        """Hex digest of the weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            if name.startswith("model."):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def load_optimiser(self, optimiser: torch.optim.Optimizer) -> None:
        """Put the optimiser's state back."""
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name.startswith("optimiser."):
                _, index, field = name.split(".", 2)
                state.setdefault(int(index), {})[field] = tensor
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def write_snapshot(snapshot: Snapshot, folder: Path) -> None:
    """Write a checkpoint folder; it appears whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({name: t.detach().cpu().contiguous() for name, t in snapshot.tensors.items()}, partial / _TENSORS)
        (partial / _HISTORY).write_text(json.dumps(snapshot.history), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"{folder}: the checkpoint could not be written: {error}") from error


def read_snapshot(folder: Path) -> Snapshot:
    """Read a folder written by `write_snapshot`.

    Raises:
        CheckpointError: it is incomplete.
    """
    try:
        history = json.loads((folder / _HISTORY).read_text(encoding="utf-8"))
        return Snapshot(load_file(folder / _TENSORS), history)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder}: not a complete checkpoint: {error}") from error
