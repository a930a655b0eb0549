"""Optimiser, learning-rate schedule and gradient clipping."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from kogner_ray.config import Config


class OptimConfig(Config):
    """AdamW with linear warm-up and linear decay.

    Attributes:
        encoder_lr: peak rate of the pretrained encoders.
        lr: peak rate of everything new.
        weight_decay: of matrices (biases and norms have none).
        warmup: share of the steps spent warming up.
        clip: largest gradient norm.
    """

    encoder_lr: float = Field(5e-5, ge=0)
    lr: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup: float = Field(0.1, ge=0, le=1)
    clip: float = Field(1.0, gt=0)


def make_optimiser(config: OptimConfig, encoders: nn.Module, others: list[nn.Module]) -> torch.optim.AdamW:
    """AdamW over the trainable parameters, in groups by rate and decay."""
    groups = []
    for modules, rate in (([encoders], config.encoder_lr), (others, config.lr)):
        trainable = [p for module in modules for p in module.parameters() if p.requires_grad]
        for decay, kept in (
            (config.weight_decay, [p for p in trainable if p.ndim > 1]),
            (0.0, [p for p in trainable if p.ndim <= 1]),
        ):
            if kept:
                groups.append({"params": kept, "lr": rate, "peak_lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=True)


def set_rates(optimiser: torch.optim.Optimizer, config: OptimConfig, *, step: int, n_steps: int) -> float:
    """Set every group's rate for 0-based `step` of `n_steps`; returns the share of the peak rate."""
    warm = max(1, round(config.warmup * n_steps))
    share = (step + 1) / warm if step < warm else max(0.0, (n_steps - step) / max(1, n_steps - warm))
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * share
    return share
