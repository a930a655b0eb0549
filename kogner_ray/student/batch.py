"""Batches: a padded block of subtokens beside packed words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from kogner_ray.student.windows import Window


@dataclass(frozen=True)
class Batch:
    """Encoder input of B windows with W words in all.

    Attributes:
        input_ids_BT: subtokens, padded.
        attention_mask_BT: 1 for subtokens, 0 for padding.
        token_of_word_W: position of each word's first subtoken in the flattened (B·T) block.
        text_of_word_W: window that each word belongs to.
    """

    input_ids_BT: torch.Tensor
    attention_mask_BT: torch.Tensor
    token_of_word_W: torch.Tensor
    text_of_word_W: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))


def collate(windows: Sequence[Window], *, pad_id: int) -> Batch:
    """Pad the subtokens of `windows` to the longest, pack their words."""
    length = max(window.n_tokens for window in windows)
    ids_BT = np.full((len(windows), length), pad_id, dtype=np.int64)
    mask_BT = np.zeros((len(windows), length), dtype=np.int64)
    for row, window in enumerate(windows):
        ids_BT[row, : window.n_tokens] = window.input_ids
        mask_BT[row, : window.n_tokens] = 1
    tokens_W = np.concatenate([row * length + window.first_tokens for row, window in enumerate(windows)])
    texts_W = np.repeat(np.arange(len(windows)), [window.n_words for window in windows])
    return Batch(*(torch.from_numpy(array.astype(np.int64)) for array in (ids_BT, mask_BT, tokens_W, texts_W)))


def word_offsets(windows: Sequence[Window]) -> list[int]:
    """Index of each window's first word among the packed words, then W."""
    return [0, *np.cumsum([window.n_words for window in windows]).tolist()]
