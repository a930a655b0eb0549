"""Numerical formats and kernels that suit the hardware."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

Precision = Literal["auto", "bf16", "fp32"]


def autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Makes a context of bf16 autocast, or of none; `auto` takes bf16 where the hardware computes in it."""
    if precision == "fp32" or (precision == "auto" and not has_bf16(device)):
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)


def has_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bf16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def training_attention(device: torch.device) -> AbstractContextManager[object]:
    """Attention kernels for training on `device`."""
    # On a CPU the backward of flash attention takes five times as long as that of plain matrix products (PyTorch 2.13).
    return sdpa_kernel([SDPBackend.MATH]) if device.type == "cpu" else contextlib.nullcontext()
