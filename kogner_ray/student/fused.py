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

_SHORT = 64


class WordEncoder(Protocol):
    """A text encoder that gives one state a word."""

    def __call__(self, batch: Batch) -> torch.Tensor:
        """States of the words' first subtokens, (W, D)."""
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

    def __call__(self, batch: Batch) -> torch.Tensor:
        """States of the words' first subtokens, (W, D)."""
        states_BTD = self._model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT).last_hidden_state
        states_WD: torch.Tensor = states_BTD.flatten(0, 1)[batch.token_of_word_W]
        return states_WD


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

    def __call__(self, batch: Batch) -> torch.Tensor:
        """States of the words' first subtokens, (W, D)."""
        n_windows, length = batch.input_ids_BT.shape
        embedded_BTD = functional.embedding(batch.input_ids_BT, self._words) + self._places_TD[:length]
        states_ND = self._norm(embedded_BTD).flatten(0, 1)
        mask = _mask(batch.attention_mask_BT, states_ND.dtype if states_ND.is_cuda else torch.float32)
        for layer in self._layers[:-1]:
            states_ND = layer(states_ND, n_windows, mask)
        return self._layers[-1](states_ND, n_windows, mask, only=batch.token_of_word_W)


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
        self._in_bf16 = precision == "int8" and has_bf16(device)
        scale = 1 / math.sqrt(own.query.out_features // n_heads)  # of the attention's logits
        weight = torch.cat([own.query.weight * scale, own.key.weight, own.value.weight])
        bias = torch.cat([own.query.bias * scale, own.key.bias, own.value.bias])
        self._qkv = Dense(weight, bias, precision=precision)
        self._attended = Dense.of(out.dense, precision=precision)
        self._attended_norm = _Norm(out.LayerNorm, dtype)
        self._inner = Dense.of(layer.intermediate.dense, precision=precision, activation="gelu")
        self._outer = Dense.of(layer.output.dense, precision=precision)
        self._norm = _Norm(layer.output.LayerNorm, dtype)

    def __call__(
        self, states_ND: torch.Tensor, n_windows: int, mask: torch.Tensor | None, only: torch.Tensor | None = None
    ) -> torch.Tensor:
        mixed_ND = self._attend(states_ND, n_windows, mask)
        if only is not None:
            mixed_ND, states_ND = mixed_ND[only], states_ND[only]
        attended_ND = self._attended_norm(self._attended(mixed_ND, states_ND))
        return self._norm(self._outer(self._inner(attended_ND), attended_ND))

    def _attend(self, states_ND: torch.Tensor, n_windows: int, mask: torch.Tensor | None) -> torch.Tensor:
        n_tokens, width = states_ND.shape
        length = n_tokens // n_windows
        parts = self._qkv(states_ND).view(n_windows, length, 3, self._n_heads, width // self._n_heads)
        if self._in_bf16:
            parts = parts.bfloat16()
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if self._fused or (parts.dtype == torch.float32 and length > _SHORT):
            mixed_BHTd = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
        else:
            mixed_BHTd = _attention(query, key, value, mask)
        return mixed_BHTd.transpose(1, 2).reshape(n_tokens, width).to(states_ND.dtype)


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
