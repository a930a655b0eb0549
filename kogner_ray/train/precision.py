"""Numerical formats and kernels that suit the hardware."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch
from transformers import PreTrainedModel

from kogner_ray.encoder import has_bf16

Precision = Literal["auto", "bf16", "fp32"]


def chosen(precision: Precision, device: torch.device) -> Literal["bf16", "fp32"]:
    """What to compute in; `auto` takes bf16 where the hardware computes in it."""
    if precision == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    return precision


def autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Makes a context of bf16 autocast, or of none."""
    if chosen(precision, device) == "fp32":
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)


def suit_attention(encoder: PreTrainedModel, device: torch.device) -> None:
    """Have `encoder` compute its attention as trains fastest on `device`."""
    # On a CPU the backward of flash attention takes five times as long as that of plain matrix products, and PyTorch's
    # own plain path goes through fp32 and looks for rows without a key (PyTorch 2.13).
    if device.type == "cpu":
        encoder.set_attn_implementation("eager")
