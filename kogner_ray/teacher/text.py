"""Z: what an entity is called and described as, encoded by a text encoder.

An entity's text is its name, as many of its synonyms as fit, and its description. Everything that does not fit into the
encoder's window is counted. Dimensions: N entities, B texts of a batch, T tokens, D encoder width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from kogner_ray.encoder import mean_pool

_MODEL_LIMIT = 512
"""Window assumed of an encoder whose tokenizer states none."""


@dataclass(frozen=True)
class EntityTexts:
    """One text an entity, in the order of the node table.

    Attributes:
        texts: (N,) texts.
        lengths: (N,) tokens of each text with special tokens, before any cut.
        left_out: (N,) synonyms of each entity that did not fit.
        max_tokens: the window they were made for.
    """

    texts: list[str]
    lengths: npt.NDArray[np.int64]
    left_out: npt.NDArray[np.int64]
    max_tokens: int

    @property
    def n_synonyms_left_out(self) -> int:
        """Synonyms that did not fit, over all entities."""
        return int(self.left_out.sum())

    @property
    def n_cut(self) -> int:
        """Texts longer than the window even without synonyms, whose end the encoder does not see."""
        return int((self.lengths > self.max_tokens).sum())


def window(tokenizer: Any, max_tokens: int | None = None) -> int:
    """Tokens that the encoder of `tokenizer` sees of one text; `max_tokens` can only narrow it."""
    stated = int(min(tokenizer.model_max_length, 10**6))
    limit = stated if stated < 10**6 else _MODEL_LIMIT
    return limit if max_tokens is None else min(limit, max_tokens)


def entity_texts(nodes: pa.Table, tokenizer: Any, *, max_tokens: int) -> EntityTexts:
    """Write one text an entity: `name; synonym; synonym. description`.

    Name and description come first; synonyms, in their order, take what is left of `max_tokens`.

    Args:
        nodes: table with name, synonyms, description; nulls are allowed in the last two.
        tokenizer: the encoder's own, which measures the pieces.
        max_tokens: window, special tokens included.
    """
    names = [name or "" for name in nodes["name"].to_pylist()]
    descriptions = [text or "" for text in nodes["description"].to_pylist()]
    synonyms = [_distinct(name, found) for name, found in zip(names, nodes["synonyms"].to_pylist(), strict=True)]
    room = max_tokens - _token_counts(tokenizer, [f"{n}. {d}" for n, d in zip(names, descriptions, strict=True)], True)
    widths = iter(_token_counts(tokenizer, [f"; {synonym}" for row in synonyms for synonym in row], False))
    texts, left_out = [], []
    for name, row, description, free in zip(names, synonyms, descriptions, room, strict=True):
        fitting = _fitting(row, [int(next(widths)) for _ in row], int(free))
        left_out.append(len(row) - len(fitting))
        texts.append("; ".join([name, *fitting]) + (f". {description}" if description else ""))
    return EntityTexts(texts, _token_counts(tokenizer, texts, True), np.array(left_out, dtype=np.int64), max_tokens)


def length_batches(lengths: npt.NDArray[np.int64], *, batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Row indices in batches of like length, longest first, each of at most `batch_tokens` padded tokens."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        # the first row of a batch is its longest, so it sets the padded width of all
        size = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


@torch.inference_mode()
def encode_texts(
    encoder: PreTrainedModel, tokenizer: Any, texts: Sequence[str], *, max_tokens: int, bf16: bool = False
) -> torch.Tensor:
    """Mean-pooled, L2-normalised embeddings of one batch of texts, (B, D) float32 on the CPU."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
    tokens = tokens.to(encoder.device)
    with torch.autocast(encoder.device.type, dtype=torch.bfloat16, enabled=bf16):
        states_BTD = encoder(**tokens).last_hidden_state
    return F.normalize(mean_pool(states_BTD.float(), tokens["attention_mask"]), dim=-1).cpu()


def _distinct(name: str, synonyms: Sequence[str] | None) -> list[str]:
    seen = {name.casefold(): name}
    for synonym in synonyms or ():
        if synonym:
            seen.setdefault(synonym.casefold(), synonym)
    return list(seen.values())[1:]


def _fitting(synonyms: list[str], widths: list[int], room: int) -> list[str]:
    fitting = []
    for synonym, width in zip(synonyms, widths, strict=True):
        if width <= room:
            fitting.append(synonym)
            room -= width
    return fitting


def _token_counts(tokenizer: Any, texts: list[str], special: bool) -> npt.NDArray[np.int64]:
    if not texts:
        return np.zeros(0, dtype=np.int64)
    ids = tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
    return np.fromiter((len(row) for row in ids), dtype=np.int64, count=len(texts))
