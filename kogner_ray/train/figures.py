"""Loss and F1 curves of a run: as PNG, and as TensorBoard events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kogner_ray.errors import ConfigError


def draw_curves(metrics: str | Path, folder: str | Path) -> None:
    """Draw `loss.png` and `f1.png` into `folder` from a metrics.jsonl."""
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in Path(metrics).read_text(encoding="utf-8").splitlines()]
    for name, series in (("loss", ("loss", "lang", "dist")), ("f1", ("dev_f1", "dev_precision", "dev_recall"))):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        for key in series:
            points = [(record["step"], record[key]) for record in records if key in record]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=key.replace("_", " "))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        figure.savefig(Path(folder) / f"{name}.png", dpi=120)


def draw_loss(history: Sequence[Mapping[str, float]], path: str | Path) -> None:
    """Draw the loss of each epoch into the PNG `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss")
    axes.plot([record["epoch"] for record in history], [record["loss"] for record in history], marker="o", markersize=3)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def log_events(record: Mapping[str, Any], folder: str | Path) -> None:
    """Add the numbers of one record of metrics to the TensorBoard log in `folder`.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("train.tensorboard needs TensorBoard: pip install 'kogner-ray[tensorboard]'") from error
    with SummaryWriter(str(folder)) as writer:
        for name, value in record.items():
            if isinstance(value, float):
                writer.add_scalar(name, value, record["step"])
