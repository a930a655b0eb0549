"""Text encoders ready for inference: BERT's layers fused, any other encoder with its linear layers packed.

Dimensions: B windows of T subtokens, W words, D hidden, H heads.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from kogner_ray.encoder import has_bf16
from kogner_ray.student.batch import Batch
from kogner_ray.student.dense import Dense, Precision, dtype_of

_SHORT = 64  # subtokens
_ROWS = 32


class WordEncoder(Protocol):
    """A text encoder that gives one state a word."""

    def __call__(self, batch: Batch, tokens_R: torch.Tensor) -> torch.Tensor:
        """States of the tokens `tokens_R`, positions in the flattened (B·T) block, (R, D)."""
        ...


def word_encoder(model: PreTrainedModel, *, precision: Precision) -> WordEncoder:
    """`model` for inference; it stays as it is."""
    return FusedBert(model, precision=precision) if _is_bert(model) else PackedEncoder(model, precision=precision)


def _is_bert(model: PreTrainedModel) -> bool:
    config = model.config
    return (
        config.model_type == "bert"
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not config.is_decoder
    )


class PackedEncoder:
    """Any encoder: a copy whose linear layers are `Dense`."""

    def __init__(self, model: PreTrainedModel, *, precision: Precision) -> None:
        self._model = copy.deepcopy(model).eval().to(dtype_of(precision))
        _pack(self._model, precision)

    def __call__(self, batch: Batch, tokens_R: torch.Tensor) -> torch.Tensor:
        """States of the tokens `tokens_R`, (R, D)."""
        states_BTD = self._model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT).last_hidden_state
        states_RD: torch.Tensor = states_BTD.flatten(0, 1)[tokens_R]
        return states_RD


def _pack(module: nn.Module, precision: Precision) -> None:
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, Dense.of(child, precision=precision))
        else:
            _pack(child, precision)


class FusedBert:
    """BERT with one product for queries, keys and values, and activations and residuals fused into the others.

    Equal to transformers' `BertModel`, except that the last layer is computed for the words' first subtokens alone:
    nothing reads the others.
    """

    def __init__(self, model: Any, *, precision: Precision) -> None:
        dtype = dtype_of(precision)
        embeddings = model.embeddings
        self._words = embeddings.word_embeddings.weight.detach().to(dtype)
        places = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self._places_TD = places.detach().to(dtype)
        self._norm = _Norm(embeddings.LayerNorm, dtype)
        self._layers = [_Layer(layer, model.config.num_attention_heads, precision) for layer in model.encoder.layer]

    def __call__(self, batch: Batch, tokens_R: torch.Tensor) -> torch.Tensor:
        """States of the tokens `tokens_R`, (R, D)."""
        embedded_BTD = functional.embedding(batch.input_ids_BT, self._words)
        embedded_BTD = embedded_BTD + self._places_TD[: batch.input_ids_BT.shape[1]]
        n_tokens = batch.input_ids_BT.numel()
        states_ND = self._norm(functional.pad(embedded_BTD.flatten(0, 1), (0, 0, 0, rounded(n_tokens) - n_tokens)))
        shape = batch.input_ids_BT.shape
        mask = _mask(batch.attention_mask_BT, states_ND.dtype if states_ND.is_cuda else torch.float32)
        for layer in self._layers[:-1]:
            states_ND = layer(states_ND, shape, mask)
        return self._layers[-1](states_ND, shape, mask, only=tokens_R)


def rounded(n_rows: int) -> int:
    """`n_rows` and a few more: each new size costs oneDNN a new kernel."""
    return -(-n_rows // _ROWS) * _ROWS


class _Norm:
    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self._weight, self._bias = norm.weight.detach().to(dtype), norm.bias.detach().to(dtype)
        self._eps = norm.eps

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self._weight, self._bias, self._eps)


class _Layer:
    def __init__(self, layer: Any, n_heads: int, precision: Precision) -> None:
        own, out = layer.attention.self, layer.attention.output
        dtype = dtype_of(precision)
        self._n_heads = n_heads
        device = own.query.weight.device
        self._fused = device.type != "cpu"
        scale = 1 / math.sqrt(own.query.out_features // n_heads)  # of the attention's logits
        weight = torch.cat([own.query.weight * scale, own.key.weight, own.value.weight])
        bias = torch.cat([own.query.bias * scale, own.key.bias, own.value.bias])
        attended_in = torch.bfloat16 if has_bf16(device) else torch.float32
        self._qkv = Dense(weight, bias, precision=precision, int8_gives=attended_in)
        self._attended = Dense.of(out.dense, precision=precision)
        self._attended_norm = _Norm(out.LayerNorm, dtype)
        self._inner = Dense.of(layer.intermediate.dense, precision=precision, activation="gelu")
        self._outer = Dense.of(layer.output.dense, precision=precision)
        self._norm = _Norm(layer.output.LayerNorm, dtype)

    def __call__(
        self, states_ND: torch.Tensor, shape: torch.Size, mask: torch.Tensor | None, only: torch.Tensor | None = None
    ) -> torch.Tensor:
        mixed_ND = self._attend(states_ND, shape, mask)
        if only is not None:
            mixed_ND, states_ND = mixed_ND[only], states_ND[only]
        attended_ND = self._attended_norm(self._attended(mixed_ND, states_ND))
        return self._norm(self._outer(self._inner(attended_ND), attended_ND))

    def _attend(self, states_ND: torch.Tensor, shape: torch.Size, mask: torch.Tensor | None) -> torch.Tensor:
        """Attention within each of the windows (B, T) = `shape`; rows beyond them stay 0."""
        n_windows, length = shape
        n_rows, width = states_ND.shape
        parts = self._qkv(states_ND)[: n_windows * length].view(n_windows, length, 3, self._n_heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if self._fused or (parts.dtype == torch.float32 and length > _SHORT):
            mixed_BHTd = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
        else:
            mixed_BHTd = _attention(query, key, value, mask)
        mixed_ND = states_ND.new_zeros(n_rows, width)
        mixed_ND[: n_windows * length].view(n_windows, length, self._n_heads, -1).copy_(mixed_BHTd.transpose(1, 2))
        return mixed_ND


def _attention(
    query_BHTd: torch.Tensor, key_BHTd: torch.Tensor, value_BHTd: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attention as plain products in the given dtype, with the softmax in fp32."""
    # On a CPU PyTorch's fused kernel is slower than this for windows of a sentence, and in bf16 slower than in fp32.
    shape, dtype = query_BHTd.shape, query_BHTd.dtype
    query, key, value = (x.reshape(-1, *shape[2:]) for x in (query_BHTd, key_BHTd, value_BHTd))
    weights = torch.bmm(query, key.transpose(1, 2)).float()
    if mask is not None:
        weights.view(*shape[:2], *weights.shape[1:]).add_(mask)
    return torch.bmm(weights.softmax(-1).to(dtype), value).view(shape)


def _mask(attention_mask_BT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """What is added to the attention logits, (B, 1, 1, T); None where nothing is padded."""
    padding_BT = attention_mask_BT == 0
    if not bool(padding_BT.any()):
        return None
    return torch.zeros_like(padding_BT, dtype=dtype).masked_fill_(padding_BT, torch.finfo(dtype).min)[:, None, None]
